"""How much memory a measurement may take here: by the machine, the control group and the limits of this process."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from ..inventory import Records
from .findings import RUN, Fault

MIB = 2**20
# Resident peak of the default command while it trains (2146 MiB measured on two cores), and a little more.
RUN_MIB = 2500
_GROUP = Path("/sys/fs/cgroup")
_GROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def check_memory() -> tuple[Records, list[Fault]]:
    """What is free by each measure, and a fault where training would not fit.

    Latency is no fault: a size that does not fit is a row `oom`, and the sweep goes on.
    """
    free = {"machine": psutil.virtual_memory().available, **_group(), **_address_space()}
    records: Records = [{"memory": name, "free MiB": round(value / MIB)} for name, value in free.items()]
    least = min(free, key=lambda name: free[name])
    have = free[least] / MIB
    fits = have >= RUN_MIB
    records.append({"memory": f"wanted by {RUN}", "free MiB": RUN_MIB, "state": "fits" if fits else "does not fit"})
    if fits:
        return records, []
    what = f"{have:.0f} MiB of memory are free (limit: {least}), {RUN} needs {RUN_MIB}"
    mend = "`ulimit -v unlimited`" if least == "address space" else "end other programs, or use a larger machine"
    return records, [Fault(what, mend, (RUN,))]


def _group() -> dict[str, int]:
    """What is left to the control group (version 2, or 1), which containers and batch systems limit."""
    for limit, used in _GROUP_FILES:
        try:
            most, held = (int((_GROUP / name).read_text(encoding="ascii")) for name in (limit, used))
        except (OSError, ValueError):  # no such group, or "max"
            continue
        if most < psutil.virtual_memory().total:
            return {"control group": most - held + _cached()}
    return {}


def _cached() -> int:
    """Bytes of the control group that are files in memory, given back on demand."""
    try:
        lines = (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)


def _address_space() -> dict[str, int]:
    if sys.platform == "win32":
        return {}
    import resource

    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return {} if soft == resource.RLIM_INFINITY else {"address space": soft - psutil.Process().memory_info().vms}
