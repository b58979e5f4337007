"""The paper's Table 4: top-1 accuracy on ImageNet, published beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..published import PublishedTable, load_published
from ..schema import Row
from ..series import Series, group, newest, split_series
from ..words import counted
from .compared import Compared, ComparedLine, Entry, Plain, compared_table
from .lines import paper_lines_of
from .tables import Table

SUITE = "classification"
_DATA = {
    "demo": "demo data: procedurally drawn; not comparable with ImageNet, so no difference is given",
    "real": "ImageNet-1k's validation set",
    "folders": "other classes or images than ImageNet's validation set, so no difference is given",
}
_SHOWN = ("recipe", "weights", "weights_sha256", "preprocessing", "device", "train_fingerprints")


def table4(rows: Sequence[Row]) -> list[Table]:
    """One table for each device and data among the rows of suite `classification`.

    Seeds of one classifier are averaged (mean±standard deviation). Published rows without a measurement keep their
    lines in one of the tables (`paper_lines_of`).
    """
    parts = [members for _, members in group((row for row in newest(rows) if row.cell.suite == SUITE), _key)]
    published = load_published()["table4"]
    whole = paper_lines_of(parts, published)
    return [_table(members, published, unmeasured=members is whole) for members in parts]


def _key(row: Row) -> tuple[Any, ...]:
    params = row.cell.params
    return device_name(row), params.get("data"), dict(params.get("dataset_fingerprints") or {}), params.get("limit")


def _table(rows: Sequence[Row], published: PublishedTable, *, unmeasured: bool) -> Table:
    params = rows[0].cell.params
    comparable = params.get("data") == "real" and params.get("limit") is None
    columns: list[Compared | Plain] = [
        Plain("", "block", _block, _rows),
        Plain("", "dim", _dim, _rows),
        Compared("params_m", "params (M)", _one_decimal, "low", comparable=True),
        Plain("", "recipe or weights", _start, _rows),
        Compared("top1", "top-1", _one_decimal, "high", comparable=comparable),
        Plain("top-5", "measured", lambda line: Entry(_rows(line), "top5").text(_one_decimal), _rows),
        Plain("top-1 before training", "measured", _before, _rows),
        Plain("", "steps", _steps, _rows),
    ]
    notes = [
        f"Chance: {chance:.1f}." for chance in sorted({row.metrics["chance_top1"] or 0 for row in rows if row.metrics})
    ]
    notes.append("Parameters: of the backbone without classifier; of timm models, whole.")
    notes += [f"{row.cell.backbone}: left out: {line}." for row in rows for line in _run(row).get("bad_images", ())]
    return compared_table(
        "Top-1 accuracy on ImageNet, in percent",
        _caption(rows),
        _lines(split_series(rows, varying=("seed",), shown=_SHOWN), published, unmeasured=unmeasured),
        columns,
        published,
        notes=notes,
        record={"device": device_name(rows[0]), "data": params.get("data"), "limit": params.get("limit")},
    )


def _lines(series: Sequence[Series], published: PublishedTable, *, unmeasured: bool) -> list[ComparedLine]:
    def order(line: ComparedLine) -> tuple[int, str]:
        place = published.rows.index(line.published) if line.published else len(published.rows)
        return place, line.label

    lines = [
        ComparedLine(one.label, published.row(one.backbone), _entries(one.rows), {"backbone": one.backbone})
        for one in series
    ]
    taken = [line.published for line in lines]
    lines += [ComparedLine(row.label, row, {}) for row in published.rows if unmeasured and row not in taken]
    return sorted(lines, key=order)


def _entries(rows: tuple[Row, ...]) -> dict[str, Entry]:
    whole = not any(row.metrics.get("params_backbone") for row in rows)
    return {
        "params_m": Entry(rows, "params_total" if whole else "params_backbone", scale=1e-6),
        "top1": Entry(rows, "top1"),
    }


def _caption(rows: Sequence[Row]) -> str:
    params = rows[0].cell.params
    facts = [f"Data: {_DATA.get(str(params.get('data')), params.get('data'))}", f"Device: {device_name(rows[0])}"]
    facts.append(f"Images: {', '.join(sorted({_whole(row.metrics['images'] or 0) for row in rows if row.metrics}))}")
    facts.append(f"Input: {', '.join(sorted({str(row.cell.params.get('size')) for row in rows}))} pixels")
    facts += [f"Only the first {counted(params['limit'], 'image')}"] if params.get("limit") is not None else []
    seeds = sorted({str(row.cell.params["seed"]) for row in rows if row.cell.params.get("seed") is not None})
    facts += [f"Seeds: {', '.join(seeds)}"] if seeds else []
    fingerprints = sorted((params.get("dataset_fingerprints") or {}).items())
    return ". ".join([*facts, *(f"{name}: {digest[:12]}" for name, digest in fingerprints)]) + "."


def _rows(line: ComparedLine) -> tuple[Row, ...]:
    return line.entry("top1").rows


def _run(row: Row) -> dict[str, Any]:
    return dict(row.provenance.get("run") or {})


def _block(line: ComparedLine) -> str:
    return ", ".join(dict.fromkeys(str(_run(row)["mixer"]) for row in _rows(line) if "mixer" in _run(row))) or "-"


def _dim(line: ComparedLine) -> str:
    text = Entry(_rows(line), "dim").text(_whole)
    printed = line.paper("dim")
    return _whole(printed) if not _rows(line) and printed is not None else text


def _start(line: ComparedLine) -> str:
    texts = []
    for row in _rows(line):
        params = row.cell.params
        texts.append(str(params["recipe"]) if params.get("recipe") else f"weights {str(params.get('weights'))[:8]}")
    return ", ".join(dict.fromkeys(texts)) or "-"


def _before(line: ComparedLine) -> str:
    return Entry(_rows(line), "top1_before").text(_one_decimal)


def _steps(line: ComparedLine) -> str:
    steps = [_run(row).get("steps") or {} for row in _rows(line)]
    return ", ".join(dict.fromkeys(str(one["train"]) for one in steps if "train" in one)) or "-"


def _one_decimal(value: float) -> str:
    return f"{value:.1f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
