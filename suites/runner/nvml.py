"""What NVIDIA's management library tells of one GPU; null with a reason where it tells nothing."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

# Names of the library's constants. A steady power cap, idling and fixed application clocks are no disturbance.
_DISTURBING = {
    "nvmlClocksThrottleReasonHwSlowdown": "hardware slowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown": "software thermal slowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "hardware thermal slowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "power brake",
}


class GpuReading(NamedTuple):
    """State of a GPU; None for what it does not tell.

    Attributes:
        clock_mhz: Of the multiprocessors.
        temperature_c: Degrees Celsius.
        power_w: Watts.
        processes: Processes that compute on it, those measured included.
        throttled: Why it runs slower than it could, as far as that disturbs a measurement.
    """

    clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    processes: int | None = None
    throttled: tuple[str, ...] = ()


class Gpu:
    """One GPU.

    Args:
        uuid: Its identity, as torch tells it.
        library: The module `pynvml`; imported unless given.
    """

    def __init__(self, uuid: str | None, *, library: Any = None) -> None:
        self.reason: str | None = None
        self._nvml: Any = None
        self._handle: Any = None
        try:
            self._nvml = library or importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            name = uuid if uuid is None or uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            if name is None:
                self.reason = "torch does not tell which GPU it is"
            else:
                self._handle = self._nvml.nvmlDeviceGetHandleByUUID(name)
        except ImportError:
            self.reason = "nvidia-ml-py is not installed"
        except Exception as error:
            # The library has a class of its own for each fault: no driver, no permission, MIG.
            self.reason = f"NVML: {error}"

    def read(self) -> GpuReading:
        """The state now."""
        power = self._ask("nvmlDeviceGetPowerUsage")
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses")
        return GpuReading(
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            temperature_c=self._ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            power_w=None if power is None else power / 1000,
            processes=None if processes is None else len(processes),
            throttled=self._throttled(),
        )

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def facts(self) -> dict[str, Any]:
        """The state now, its power limit, and why anything is null."""
        limit = self._ask("nvmlDeviceGetPowerManagementLimit")
        told = {"power_limit_w": None if limit is None else limit / 1000}
        return {**self.read()._asdict(), **told, **({"reason": self.reason} if self.reason else {})}

    def _throttled(self) -> tuple[str, ...]:
        mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(words for name, words in _DISTURBING.items() if mask & getattr(self._nvml, name, 0))

    def _ask(self, function: str, constant: str | None = None) -> Any:
        if self._handle is None:
            return None
        # What one GPU does not support must not take the rest along.
        with contextlib.suppress(Exception):
            call: Callable[..., Any] = getattr(self._nvml, function)
            return call(self._handle, *([getattr(self._nvml, constant)] if constant else []))
        return None
