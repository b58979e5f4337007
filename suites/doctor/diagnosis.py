"""All looks of `bench doctor` in order; what needs a package that does not work is left out and said so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ... import settings
from ...errors import LinBenchError
from .findings import Diagnosis, Fault
from .packages import check_kernels, check_packages

LATER = ("Devices", "Backbones", "Operator backends", "Data sets", "Weights")


def diagnose(
    *,
    results: Path | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Look at packages, devices, backbones, operators, data, weights, folders and memory.

    Args:
        results: Results folder; None for the set one.
        data: Root of the real data sets; None for the set one, if any.
        cache: Cache folder; None for the set one.
        progress: Told what is looked at now.
    """
    found = Diagnosis()
    progress("trying every package")
    records, faults = check_packages()
    found.add("Versions", records, faults)
    broken = [fault for fault in faults if not fault.what.startswith("numba")]
    _tools(found)
    try:
        roots = settings.results_root(results), settings.data_root(data), settings.cache_root(cache)
    except LinBenchError as error:
        found.add("Folders", [{"folder": "all", "state": str(error)}], [Fault("the folders are not known", str(error))])
        roots = None
    if roots is not None:
        from .places import check_folders

        found.add("Folders", *check_folders(roots[0], roots[2]))
    if broken:
        why = [{"state": "not looked at", "reason": "; ".join(fault.what for fault in broken)}]
        found.sections |= {title: list(why) for title in LATER}
        return found
    progress("looking at backbones and kernels")
    _models(found, numba_works=not faults)
    if roots is not None:
        from .data import check_data, check_weights

        progress("looking at data sets and weights")
        found.add("Data sets", *check_data(roots[1], roots[2]))
        found.add("Weights", *check_weights(roots[2]))
    from .memory import check_memory

    found.add("Memory", *check_memory())
    return found


def _models(found: Diagnosis, *, numba_works: bool) -> None:
    from .models import check_backbones, check_operators, devices

    found.add("Devices", devices())
    operators, services, faults = check_operators()
    found.add("Backbones", check_backbones(services))
    found.add("Operator backends", operators, faults if numba_works else ())
    if numba_works:
        found.faults += check_kernels()


def _tools(found: Diagnosis) -> None:
    compiler = next((name for name in ("g++", "clang++", "c++", "cl") if shutil.which(name)), None)
    mend = "" if compiler else "apt-get install g++"
    state = compiler or "not found"
    found.add("Tools", [{"tool": "C++ compiler", "state": state, "for": "`--compile`", "mend": mend}])
