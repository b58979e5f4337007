"""Rows as a flat table: for listings, spreadsheets and data frames."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import StoreError, UsageError
from .files import write_atomic
from .provenance import device_name
from .schema import STATUSES, Row, canonical_json

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "parquet", "json"]
FORMATS: tuple[str, ...] = get_args(Format)


def select_rows(
    rows: Sequence[Row], *, suite: str | None = None, backbone: str | None = None, status: str | None = None
) -> list[Row]:
    """The rows whose suite, backbone and status fit, each a name, several by comma, or a pattern with `*` and `?`.

    Raises:
        UsageError: No status has that name.
    """
    statuses = _patterns(status)
    unknown = [name for name in statuses if not any(fnmatch.fnmatchcase(known, name) for known in STATUSES)]
    if unknown:
        raise UsageError(f"no row has the status '{unknown[0]}'; expected one of {', '.join(STATUSES)}")
    asked = (_patterns(suite), _patterns(backbone), statuses)

    def fits(row: Row) -> bool:
        values = (row.cell.suite, row.cell.backbone, row.status)
        return all(
            not patterns or any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)
            for value, patterns in zip(values, asked, strict=True)
        )

    return [row for row in rows if fits(row)]


def why_none(rows: Sequence[Row], **asked: str | None) -> str:
    """Why `select_rows` found none with the same arguments, in one line: what was asked for, and what there is."""
    there: dict[str, set[str]] = {
        "suite": {row.cell.suite for row in rows},
        "backbone": {row.cell.backbone for row in rows},
        "status": {row.status for row in rows},
    }
    given = [name for name in there if asked.get(name)]
    if not rows or not given:
        return "there are no rows"
    options = " ".join(f"--{name} {asked[name]}" for name in given)
    known = "; ".join(f"{name} {', '.join(sorted(there[name]))}" for name in given)
    return f"no row matches {options}; there are rows of {known}"


def rows_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a row: what it is of, `params.*`, `metrics.*`, and where it comes from; lists and objects as JSON."""
    import pandas as pd

    records = [_record(row) for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record))
    order = {"params": 1, "metrics": 2}
    names.sort(key=lambda name: order.get(name.partition(".")[0], 0))
    return pd.DataFrame(records, columns=names)


def _record(row: Row) -> dict[str, Any]:
    made = row.provenance.get("linbench") or {}
    return {
        "suite": row.cell.suite,
        "backbone": row.cell.backbone,
        "status": row.status,
        "key": row.cell.key,
        "created_utc": row.created_utc,
        "device": device_name(row),
        "linbench_version": made.get("version"),
        "linbench_commit": made.get("commit"),
        "error": row.error,
        **{f"params.{name}": _flat(value) for name, value in sorted(row.cell.params.items())},
        **{f"metrics.{name}": value for name, value in sorted(row.metrics.items())},
    }


def write_export(rows: Sequence[Row], path: Path, form: str) -> None:
    """Write rows to a file, whole or not at all: CSV and Parquet flat and without samples, JSON with everything.

    Raises:
        UsageError: No such format, or Parquet without pyarrow.
        StoreError: The file cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(f"--format '{form}' is not known; expected one of {', '.join(FORMATS)}")
    write = {"csv": _csv, "parquet": _parquet, "json": _json}[form]
    try:
        write_atomic(path, write(rows), overwrite=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; give a writable place") from error


def _csv(rows: Sequence[Row]) -> bytes:
    return str(rows_frame(rows).to_csv(index=False, lineterminator="\n")).encode()


def _json(rows: Sequence[Row]) -> bytes:
    return (json.dumps([row.to_dict() for row in rows], indent=1) + "\n").encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    import io

    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed; `pip install 'linbench[parquet]'`, or use --format csv"
        ) from error
    frame = rows_frame(rows)
    for name in frame.columns:
        # A column of one type only can be stored: texts where not all are numbers.
        kinds = {type(value) for value in frame[name].dropna()}
        if not kinds <= {int, float} and kinds != {bool}:
            frame[name] = frame[name].map(lambda value: value if value is None else str(value), na_action="ignore")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def _flat(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, (dict, list)) else value


def _patterns(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
