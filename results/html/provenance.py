"""What the page tells of a row: where its numbers come from, in words that fit a small box."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..provenance import device_name
from ..schema import Row, canonical_json

_OF_THE_ROW = ("kernels", "run", "schedule", "installation")


class ProvenanceList:
    """Provenances, each kept once however many rows share it."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}

    def add(self, row: Row) -> int:
        """Place in `entries` of what the row shares with others of its run."""
        shared = plain({name: value for name, value in row.provenance.items() if name not in _OF_THE_ROW})
        place = self._places.setdefault(canonical_json(shared), len(self.entries))
        if place == len(self.entries):
            self.entries.append({"facts": shared, "short": _short(shared)})
        return place


def row_record(row: Row, provenances: ProvenanceList) -> dict[str, Any]:
    """A row as the page holds it: without samples and without what many rows share."""
    run = row.provenance.get("run")
    facts = {"kernels": row.provenance.get("kernels")}
    if isinstance(run, Mapping):
        facts |= {name: value for name, value in run.items() if isinstance(value, (str, int, float, bool))}
    return {
        "key": row.cell.key,
        "suite": row.cell.suite,
        "backbone": row.cell.backbone,
        "params": plain(dict(row.cell.params)),
        "status": row.status,
        "metrics": plain(dict(sorted(row.metrics.items()))),
        "error": row.error,
        "device": device_name(row),
        "created": row.created_utc,
        "run": plain({name: value for name, value in facts.items() if value}),
        "provenance": provenances.add(row),
    }


def plain(value: Any) -> Any:
    """JSON values only; numbers that JSON has no word for become null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def _short(shared: Mapping[str, Any]) -> dict[str, str]:
    """Commit and versions, as the small box beside a number shows them."""
    linbench, packages, torch = (_mapping(shared.get(name)) for name in ("linbench", "packages", "torch"))
    commit = str(linbench.get("commit") or "")[:12] or "unknown"
    if linbench.get("commit"):
        dirty = linbench.get("dirty")
        commit += ", local changes unknown" if dirty is None else ", with local changes" if dirty else ""
    elif linbench.get("reason"):
        commit += f" ({linbench['reason']})"
    versions = {"LinBench": linbench.get("version"), "Python": shared.get("python")}
    versions |= {"torch": torch.get("version") or packages.get("torch"), "CUDA": torch.get("cuda")}
    versions |= {name: packages.get(name) for name in ("timm", "triton", "numba")}
    told = [f"{name} {value}" for name, value in versions.items() if value]
    return {"commit": commit, "versions": ", ".join(told) or "unknown"}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
