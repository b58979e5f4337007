"""What works on this machine and what does not, with the reason."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LinBenchError, StoreError
from ..results.provenance import collect
from ..results.store import Store
from .data.datasets import DATASETS, find_dataset
from .inventory import Records, inventory
from .training.precision import cpu_has_bf16

WANTED_FREE_GIB = 2.0


@dataclass
class Diagnosis:
    """What was found.

    Attributes:
        sections: Records to print, by title.
        faults: What would make the default commands fail, one line each.
    """

    sections: dict[str, Records] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"sections": self.sections, "faults": self.faults}


def diagnose(*, results: Path, data: Path | None, cache: Path) -> Diagnosis:
    """Look at versions, devices, operator backends, data and disk.

    Args:
        results: Results folder.
        data: Root of the real data sets, or None where none is set.
        cache: Cache folder.
    """
    found = Diagnosis()
    facts = collect()
    versions = facts.get("packages", {})
    found.sections["Versions"] = [{"what": "python", "version": platform.python_version()}] + [
        {"what": name, "version": version or "not installed"} for name, version in versions.items()
    ]
    found.sections["Devices"] = _devices()
    kernels = inventory("kernels")
    found.sections["Operator backends"] = kernels
    for operator in sorted({k["operator"] for k in kernels}):
        if not any(k["works here"] == "yes" for k in kernels if k["operator"] == operator):
            found.faults.append(f"operator {operator} has no backend that works here")
    found.sections["Data sets"] = _data(data)
    found.sections["Folders"] = _folders(results, cache, found.faults)
    return found


def _devices() -> Records:
    import torch

    threads = torch.get_num_threads()
    records = [
        {
            "device": "cpu",
            "works": "yes",
            "detail": f"{threads} threads, bf16 in hardware: {'yes' if cpu_has_bf16() else 'no'}",
        }
    ]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        records += [{"device": f"cuda:{i}", "works": "yes", "detail": name} for i, name in enumerate(names)]
    else:
        reason = "torch was built without CUDA" if torch.version.cuda is None else "no NVIDIA driver or no device"
        records.append({"device": "cuda", "works": "no", "detail": reason})
    return records


def _data(root: Path | None) -> Records:
    if root is None:
        return [{"data set": "all", "found": "no", "detail": "LINBENCH_DATA is not set: the demo data are used"}]
    records = []
    for name in DATASETS:
        try:
            records.append({"data set": name, "found": "yes", "detail": f"{len(find_dataset(name, root))} images"})
        except LinBenchError as error:
            records.append({"data set": name, "found": "no", "detail": str(error)})
    return records


def _folders(results: Path, cache: Path, faults: list[str]) -> Records:
    records = []
    for title, folder in (("results", results), ("cache", cache)):
        detail = "writable"
        try:
            Store(folder).check_writable()
        except StoreError as error:
            detail = str(error)
            faults.append(detail)
        existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
        free = shutil.disk_usage(existing).free / 2**30
        records.append({"folder": title, "path": str(folder), "free GiB": round(free, 1), "state": detail})
        if free < WANTED_FREE_GIB:
            faults.append(f"{folder} has {free:.1f} GiB free; the demo data and checkpoints need {WANTED_FREE_GIB:g}")
    return records
