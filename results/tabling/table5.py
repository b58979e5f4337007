"""The paper's Table 5: semantic segmentation on ADE20K with UperNet, published beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..published import PublishedTable, load_published
from ..schema import Row
from ..series import NUMBERED, group, newest, split_series
from ..words import counted
from .compared import Compared, ComparedLine, Entry, Plain, compared_table
from .lines import Line, is_baseline, make_lines, paper_lines_of
from .tables import Table

SUITE = "ade20k"
PAPER_DATASET = "ADE20K"
DECODERS = {"upernet": "UperNet"}
_MILLION = 1e-6
_DATA = {
    "demo": "demo data: procedurally drawn; not comparable with the paper's data, so no difference is given",
    "real": "real images",
    "folders": "another set than ADE20K; not comparable with the paper's",
}
_SHARED = ("data", "dataset_fingerprints", "classes_sha", "limit")
_NETWORKS = ("inference", "scale", "crop", "stride")
_SHOWN = ("stage", "weights", "recipe", "decoder")
_TOLD_BAD = 3


def table5(rows: Sequence[Row]) -> list[Table]:
    """Build one table for each device, data, and way of inference among the rows of suite `ade20k`.

    Seeds of one backbone are averaged. Published rows without a measurement keep their lines in one of the tables whose
    data are ADE20K's, or drawn in their layout (`paper_lines_of`). The baseline joins every table of the same data,
    whatever its device.
    """
    measured = [row for row in newest(rows) if row.cell.suite == SUITE]
    networks = group((row for row in measured if not is_baseline(row.cell.backbone)), _key)
    baselines = [row for row in measured if is_baseline(row.cell.backbone)]
    joined: set[int] = set()
    parts = []
    for key, members in networks:
        fitting = [row for row in baselines if _params(row, _SHARED) == key[1]]
        joined |= {id(row) for row in fitting}
        parts.append((key[0], [*members, *fitting]))
    parts += [(key[0], found) for key, found in group((row for row in baselines if id(row) not in joined), _key)]
    published = load_published()["table5"]
    whole = paper_lines_of([found for _, found in parts if _dataset(found) == PAPER_DATASET], published)
    return [_table(device, found, published, unmeasured=found is whole) for device, found in parts]


def _key(row: Row) -> tuple[Any, ...]:
    return device_name(row), _params(row, _SHARED), _params(row, _NETWORKS)


def _params(row: Row, names: Sequence[str]) -> list[Any]:
    return [row.cell.params.get(name) for name in names]


def _dataset(rows: Sequence[Row]) -> str:
    return ", ".join(rows[0].cell.params["datasets"])


def _table(device: str, rows: list[Row], published: PublishedTable, *, unmeasured: bool) -> Table:
    params, dataset = rows[0].cell.params, _dataset(rows)
    shown = published if dataset == PAPER_DATASET else None
    series = split_series(rows, varying=("seed",), shown=(*_SHOWN, *_NETWORKS, "device", "kernels"))
    lines = [_compared(line) for line in make_lines(series, shown, unmeasured=unmeasured)]
    whole = params["data"] == "real" and params["limit"] is None
    columns: list[Compared | Plain] = [
        Plain("", "decoder", lambda line: line.extra["decoder"] or "-"),
        Plain("", "weights", lambda line: line.extra["start"] or "-"),
        Plain("", "seeds", lambda line: line.extra["seeds"] or "-", lambda line: line.rows),
        Compared("params_m", "params (M)", "{:.1f}".format, comparable=True),
        Compared("miou", "mIoU", "{:.1f}".format, goal="high", comparable=whole),
        Plain("mAcc", "measured", lambda line: line.entry("macc").text("{:.1f}".format), lambda line: line.rows),
        Plain("aAcc", "measured", lambda line: line.entry("aacc").text("{:.1f}".format), lambda line: line.rows),
        Plain("", "steps", _steps, lambda line: line.rows),
    ]
    notes = [
        "mIoU, mAcc and aAcc in percent, of the summed pixels of all images; classes that do not occur are left out.",
        "Parameters: of the backbone, RWKV-SAM's block of stride 32 included, without neck, UperNet, auxiliary head.",
        *(["baseline:commonest predicts the class with the most pixels everywhere."] if _has_baseline(rows) else []),
        *_left_out(rows),
        *(f"Data fingerprints: {name} {sha}." for name, sha in sorted(params["dataset_fingerprints"].items())),
    ]
    record = {"device": device, "data": params["data"], "dataset": dataset}
    title = "Semantic segmentation with UperNet: mIoU in percent"
    return compared_table(title, _caption(device, rows), lines, columns, published, notes=notes, record=record)


def _compared(line: Line) -> ComparedLine:
    if line.series is None:
        label = line.published.label if line.published else "-"
        return ComparedLine(label, line.published, {}, {"decoder": "UperNet", "start": None, "seeds": None})
    rows = line.rows
    entries = {name: Entry(rows, name) for name in ("miou", "macc", "aacc")}
    entries["params_m"] = Entry(rows, "params_backbone", scale=_MILLION)
    extra = {
        "backbone": line.series.backbone,
        "decoder": DECODERS.get(str(line.param("decoder"))),
        "start": _start(line),
        "seeds": None if line.seeds() == "-" else line.seeds(),
    }
    return ComparedLine(line.series.label, line.published, entries, extra)


def _start(line: Line) -> str | None:
    weights, recipe = line.param("weights"), line.param("recipe")
    if line.param("stage") == "trained":
        return f"{weights}, trained ({recipe})"
    return None if weights is None else f"{str(weights)[:8]}, not trained here"


def _steps(line: ComparedLine) -> str:
    found = [(row.provenance.get("run") or {}).get("steps") for row in line.rows]
    return ", ".join(f"{steps:,}" for steps in found if steps is not None) or "-"


def _has_baseline(rows: Sequence[Row]) -> bool:
    return any(is_baseline(row.cell.backbone) for row in rows)


def _left_out(rows: Sequence[Row]) -> list[str]:
    notes = []
    for row in rows:
        bad = (row.provenance.get("run") or {}).get("bad_images") or {}
        for side, lines in bad.items():
            if row.status in NUMBERED:
                more = ", ..." if len(lines) > _TOLD_BAD else ""
                notes.append(f"Left out of the {side} images: {len(lines)} ({'; '.join(lines[:_TOLD_BAD])}{more}).")
    return list(dict.fromkeys(notes))


def _caption(device: str, rows: Sequence[Row]) -> str:
    networks = [row for row in rows if not is_baseline(row.cell.backbone)]
    params = (networks or list(rows))[0].cell.params
    kind = str(params["data"])
    facts = [f"Data: {', '.join(params['datasets'])}, {params['classes']} classes, {_DATA.get(kind, kind)}"]
    facts.append(f"Device: {device}")
    if params.get("limit") is not None:
        facts.append(f"Only the first {counted(params['limit'], 'image')}")
    if networks:
        long, short = params["scale"]
        facts.append(f"Images fitted to {long}x{short} pixels, aspect kept")
        window = f" of {params['crop']} pixels, step {params['stride']}" if params["inference"] == "slide" else ""
        facts.append(f"Inference: {params['inference']}{window}")
    return ". ".join(facts) + "."
