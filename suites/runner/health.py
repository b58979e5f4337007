"""How the machine was while a block ran: CPU throttling and load, and on a GPU its clock, temperature and power.

What cannot be found out is null with the reason beside it. A block that the machine disturbed is marked.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .nvml import Gpu, GpuReading

LOW_CLOCK = 0.9
BUSY_LOAD = 0.2
_GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_NO_TURBO = "/sys/devices/system/cpu/intel_pstate/no_turbo"
_CGROUPS = Path("/sys/fs/cgroup")


class BlockHealth(NamedTuple):
    """What was seen around one block.

    Attributes:
        mark: Why the block is not to be trusted, in a line; None where nothing was seen.
        energy_j: Joules that the GPU took; None where nobody counts them.
        gpu: What was read from the GPU after the block; None without NVML.
    """

    mark: str | None = None
    energy_j: float | None = None
    gpu: GpuReading | None = None


class Health(Protocol):
    """Watches a machine, one block at a time."""

    def start(self) -> None:
        """Read the counters before a block."""
        ...

    def stop(self) -> BlockHealth:
        """What happened since `start`."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a row tells of the machine besides."""
        ...


class MachineHealth:
    """The host, and a GPU where there is one.

    Args:
        gpu: The GPU that is measured on, or None for the CPU.
        load_before: `load_average` before anything of the run's own was started.
        cpu_stat: The control group's counters; found by itself unless given.
    """

    def __init__(
        self, gpu: Gpu | None = None, *, load_before: float | None = None, cpu_stat: Path | None = None
    ) -> None:
        self._gpu = gpu
        self._cpu_stat = cpu_stat or _own_cpu_stat()
        self._clocks: list[float] = []
        self._load_before = load_before
        self._throttled_before = self._throttled_now = self._throttled()
        self._energy: float | None = None

    def start(self) -> None:
        self._throttled_now = self._throttled()
        self._energy = self._gpu.energy_j() if self._gpu else None

    def stop(self) -> BlockHealth:
        marks = []
        before, after = self._throttled_now, self._throttled()
        if before is not None and after is not None and after > before:
            marks.append(f"the control group was throttled {after - before} times")
        if self._gpu is None:
            return BlockHealth("; ".join(marks) or None)
        reading, energy = self._gpu.read(), self._gpu.energy_j()
        marks += [f"the GPU throttled: {reason}" for reason in reading.throttled]
        if reading.clock_mhz is not None:
            self._clocks.append(reading.clock_mhz)
            usual = statistics.median(self._clocks)
            if reading.clock_mhz < LOW_CLOCK * usual:
                marks.append(f"the GPU's clock was {reading.clock_mhz:g} MHz, usually {usual:g} MHz")
        spent = None if energy is None or self._energy is None else energy - self._energy
        return BlockHealth("; ".join(marks) or None, spent, reading)

    def facts(self) -> dict[str, Any]:
        throttled = self._throttled()
        since = None if throttled is None or self._throttled_before is None else throttled - self._throttled_before
        governor = _read(_GOVERNOR)
        found = {
            "governor": governor,
            "no_turbo": _read(_NO_TURBO),
            "load_before": self._load_before,
            "throttled": since,
            "gpu": self._gpu.facts() if self._gpu else None,
        }
        warnings = []
        if governor not in (None, "performance"):
            warnings.append(f"the governor of the CPU is '{governor}', not 'performance'")
        if self._load_before is not None and self._load_before > BUSY_LOAD * (os.cpu_count() or 1):
            warnings.append(f"the load before was {self._load_before:.2f}: other processes were busy")
        if since:
            warnings.append(f"the control group was throttled {since} times")
        return {**found, "warnings": warnings}

    def _throttled(self) -> int | None:
        try:
            lines = self._cpu_stat.read_text(encoding="ascii").splitlines() if self._cpu_stat else []
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith("nr_throttled ")), None)


def _own_cpu_stat() -> Path | None:
    """`cpu.stat` of this process's control group, of version 2 or 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            for root in [_CGROUPS] if not controllers else [_CGROUPS / controllers, _CGROUPS / "cpu"]:
                for folder in (root / path.lstrip("/"), root):
                    if (folder / "cpu.stat").is_file():
                        return folder / "cpu.stat"
    return None


def load_average() -> float | None:
    """Processes that ran or waited to run in the last minute; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
