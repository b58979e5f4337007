"""Cells and rows: the one data type that suites write and that tables and figures read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, get_args

SCHEMA_VERSION = 1

Status = Literal[
    "ok", "oom", "skipped", "unsupported", "wrong", "unstable", "timeout", "crash", "interrupted", "failed"
]
STATUSES: tuple[str, ...] = get_args(Status)
_PARTS = ("device", "linbench", "run", "schedule")


def canonical_json(value: Any) -> str:
    """Serialise `value` so that equal values always give the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Cell:
    """One measurement, described completely before it is made.

    Attributes:
        suite: Suite name, for example `"sam-hq"`.
        backbone: Registry name, or `"baseline:<name>"` for a method without a network.
        params: Everything else that decides the outcome (resolution, recipe, seed, ...), JSON values only.
    """

    suite: str
    backbone: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the cell: its name in the store."""
        text = canonical_json({"suite": self.suite, "backbone": self.backbone, "params": dict(self.params)})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return int(self.key, 16)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


@dataclass
class Row:
    """A cell with its outcome.

    Attributes:
        cell: What was measured.
        status: How it ended; only `"ok"` and `"unstable"` rows carry numbers.
        metrics: Scalar results by name, units in the name (`latency_ms`, `miou`, `peak_memory_mib`).
        samples: Raw values behind the metrics (per-image scores, per-iteration times), lists of equal meaning.
        provenance: Versions, commit, device, flags, kernel backends; see `results.provenance`.
        error: One line that says what went wrong, for a row that is not ok.
        created_utc: ISO 8601 time of the end of the measurement.
    """

    cell: Cell
    status: Status
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    samples: dict[str, list[Any]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    created_utc: str = field(default_factory=_now)
    schema: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON-ready values, the cell's key included for readers of the file."""
        data = asdict(self)
        data["cell"] = {
            "suite": self.cell.suite,
            "backbone": self.cell.backbone,
            "params": dict(self.cell.params),
            "key": self.cell.key,
        }
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Read a row of this or an older schema.

        Raises:
            ValueError: The row is of a newer schema, is not a row at all, or has a field of another type.
        """
        schema = data.get("schema")
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise ValueError(f"row has schema {schema!r}; this linbench reads up to {SCHEMA_VERSION}: update linbench")
        if data.get("status") not in STATUSES:
            raise ValueError(f"row has status {data.get('status')!r}; expected one of {', '.join(STATUSES)}")
        cell = data["cell"]
        _check_types(data, cell)
        return cls(
            cell=Cell(cell["suite"], cell["backbone"], cell["params"]),
            status=data["status"],
            metrics=dict(data.get("metrics", {})),
            samples=dict(data.get("samples", {})),
            provenance=dict(data.get("provenance", {})),
            error=data.get("error"),
            created_utc=data.get("created_utc", ""),
            schema=schema,
        )


def _check_types(data: Mapping[str, Any], cell: Mapping[str, Any]) -> None:
    """Hold the fields to their types, so that no reader of a row meets a text where it computes with numbers."""
    provenance = data.get("provenance", {})
    fields: dict[str, tuple[Any, type | tuple[type, ...]]] = {
        "cell.suite": (cell["suite"], str),
        "cell.backbone": (cell["backbone"], str),
        "cell.params": (cell["params"], Mapping),
        "metrics": (data.get("metrics", {}), Mapping),
        "samples": (data.get("samples", {}), Mapping),
        "provenance": (provenance, Mapping),
        "error": (data.get("error"), (str, type(None))),
        "created_utc": (data.get("created_utc", ""), str),
    }
    if isinstance(provenance, Mapping):
        fields |= {f"provenance.{name}": (provenance.get(name, {}), Mapping) for name in _PARTS}
    wrong = [name for name, (value, kind) in fields.items() if not isinstance(value, kind)]
    if not wrong:
        metrics, samples = fields["metrics"][0], fields["samples"][0]
        wrong += [f"metrics.{name}" for name, value in metrics.items() if not _is_number(value)]
        wrong += [f"samples.{name}" for name, values in samples.items() if not isinstance(values, list)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: of a type that no row has there")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))
