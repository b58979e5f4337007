"""The paper's Table 3: box prompts on high-quality masks, published beside measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..provenance import device_name
from ..published import PublishedRow, PublishedTable, load_published
from ..schema import Row
from ..series import NUMBERED, Series, group, newest, split_series
from ..words import counted
from .lines import Line, is_baseline, make_lines, number, pair, paper_lines_of
from .tables import Source, Table, legend

SUITE = "sam-hq"
PAPER_DATASETS = ("COCO", "DIS", "COIFT", "HRSOD")
TRUE_BOXES = "truth"
SCORES = ("miou", "mbiou")
AVERAGE_PRECISION = ("map", "mbap")
_TELLING = ("weights", "stage", "recipe", "recipe_sha")
_DATA = {
    "demo": "demo data: procedurally drawn; not comparable with the paper's data, so no difference is given",
    "real": "real images",
    "folders": "the user's own folders",
}
_ODD = {
    "bad_images": "images that could not be used, left out of the scores",
    "empty_masks": "empty true masks, for which the empty mask is right",
    "unprompted_masks": "true masks that vanish at the frame's size, without a box to prompt with and so missed",
}
_NAMED = 5
_BEST = ("paper", "measured")
_Column = tuple[tuple[str, str], Callable[[Line], str]]


def table3(rows: Sequence[Row]) -> list[Table]:
    """Build one table for each device, data, protocol and frame size among the rows of suite `sam-hq`.

    Seeds of one system are averaged (mean±standard deviation). Published rows without a measurement keep their lines
    in one of the tables whose data have the paper's data sets (`paper_lines_of`). Baselines join every table of the
    same data, whatever their device.
    """
    measured = [row for row in newest(rows) if row.cell.suite == SUITE]
    networks = group((row for row in measured if not is_baseline(row.cell.backbone)), _key)
    baselines = [row for row in measured if is_baseline(row.cell.backbone)]
    joined: set[str] = set()
    parts = []
    for key, members in networks:
        fitting = [row for row in baselines if _joins(row, key)]
        joined |= {row.cell.key for row in fitting}
        parts.append((key[0], [*members, *fitting]))
    alone = group((row for row in baselines if row.cell.key not in joined), _key)
    parts += [(key[0], found) for key, found in alone]
    published = load_published()["table3"]
    whole = paper_lines_of([found for _, found in parts if {*_datasets(found)} & {*PAPER_DATASETS}], published)
    return [_table(device, found, published, unmeasured=found is whole) for device, found in parts]


def _key(row: Row) -> tuple[Any, ...]:
    params = row.cell.params
    fingerprints = dict(params.get("dataset_fingerprints") or {})
    return device_name(row), params.get("data"), fingerprints, params.get("protocol"), params.get("frame")


def _joins(baseline: Row, key: tuple[Any, ...]) -> bool:
    _, *data, frame = _key(baseline)
    return tuple(data) == key[1:-1] and frame in {None, key[-1]}


def _table(device: str, rows: list[Row], table: PublishedTable, *, unmeasured: bool) -> Table:
    import pandas as pd

    params = rows[0].cell.params
    datasets = _datasets(rows)
    series = split_series(rows, varying=("seed",), shown=(*_TELLING, "device", "frame"))
    lines = make_lines(series, table if {*datasets} & {*PAPER_DATASETS} else None, unmeasured=unmeasured)
    published = table if any(line.published for line in lines) else None
    comparable = published is not None and params.get("data") == "real"
    columns = _columns(lines, datasets, published=published is not None, comparable=comparable)
    cells = tuple(tuple(show(line) for _, show in columns) for line in lines)
    shared = {"device": device, "data": params.get("data"), "protocol": params.get("protocol")}
    frame = pd.DataFrame([{**shared, **_record(line, datasets, comparable)} for line in lines], dtype=object)
    return Table(
        "High-quality masks from box prompts: mIoU / mBIoU, on COCO mAP / mBAP, in percent",
        _caption(device, rows, series),
        tuple(head for head, _ in columns),
        cells,
        frame,
        (*legend(cells), *_notes(lines, params)),
        tuple(tuple(_sources(head, line) for head, _ in columns) for line in lines),
        goals={head: "high" for head, _ in columns if head[0] in {*datasets, "all masks", "FPS"} and head[1] in _BEST},
        paper_notes=tuple(dict.fromkeys(_paper_notes(lines, published))) if published else (),
    )


def _sources(column: tuple[str, str], line: Line) -> tuple[Source, ...]:
    group_name, name = column
    tables = load_published()
    cited: list[Source] = []
    if name in {"paper", "delta"}:
        key = "table3" if line.published or group_name != "params (M)" else "table1"
        found = line.published or (tables[key].row(line.series.backbone) if line.series else None)
        cited = [tables[key].cite(found)] if found else []
    return (*cited, *(line.rows if name in {"measured", "delta", "over box", "seeds"} else ()))


def _datasets(rows: list[Row]) -> list[str]:
    named = {name for row in rows for name in row.cell.params.get("datasets") or ()}
    ends = (f"/{SCORES[0]}", f"/{AVERAGE_PRECISION[0]}")
    named |= {metric.rpartition("/")[0] for row in rows for metric in row.metrics if metric.endswith(ends)}
    return [name for name in PAPER_DATASETS if name in named] + sorted(named - set(PAPER_DATASETS))


def _columns(lines: list[Line], datasets: list[str], *, published: bool, comparable: bool) -> list[_Column]:
    columns: list[_Column] = [(("", "system"), _system)]
    if published:
        columns.append((("", "in the paper"), _in_paper))
    columns += [(("", name), partial(_param, name)) for name in _telling(lines)]
    columns.append((("", "seeds"), Line.seeds))
    if published:
        columns.append((("FPS", "paper"), lambda line: number(line.paper("fps"))))
        columns.append((("params (M)", "paper"), lambda line: number(_params_paper(line))))
    columns.append((("params (M)", "measured"), _params_measured))
    for name in datasets:
        metrics = [f"{name}/{score}" for score in _scores(name)]
        in_paper = published and name in PAPER_DATASETS
        columns += [((name, "paper"), partial(_paper, metrics))] if in_paper else []
        columns += [((name, "measured"), partial(_measured, metrics))]
        columns += [((name, "delta"), partial(_delta, name, metrics))] if in_paper and comparable else []
    if len([name for name in datasets if _scores(name) == SCORES]) > 1:
        columns.append((("all masks", "measured"), partial(_measured, SCORES)))
    box = next((line for line in lines if line.series and line.series.backbone == "baseline:box"), None)
    if box and box.mean(SCORES[0]) is not None and len(lines) > 1:
        columns.append((("all masks", "over box"), partial(_over, box)))
    return columns


def _scores(dataset: str) -> tuple[str, str]:
    return AVERAGE_PRECISION if dataset == "COCO" else SCORES


def _system(line: Line) -> str:
    if line.series:
        return line.series.label
    return line.published.label if line.published else "-"


def _in_paper(line: Line) -> str:
    if line.series is None:
        return "only there"
    return line.published.label if line.published else "-"


def _telling(lines: list[Line]) -> list[str]:
    networks = [line for line in lines if line.series and not is_baseline(line.series.backbone)]
    kinds = {name: len({str(line.param(name)) for line in networks}) for name in _TELLING}
    # The hash earns a column only where one recipe name stands for several recipes.
    return [name for name in _TELLING if kinds[name] > (kinds["recipe"] if name == "recipe_sha" else 1)]


def _param(name: str, line: Line) -> str:
    return _short(line.param(name))


def _params_paper(line: Line) -> float | None:
    # Table 3 has one size of RWKV-SAM, Table 1 the parameters of all.
    row = line.published or (load_published()["table1"].row(line.series.backbone) if line.series else None)
    return row.values.get("params_m") if row else None


def _params_measured(line: Line) -> str:
    count = line.mean("params_backbone")
    return f"{count / 1e6:.1f}" if count else "-"


def _paper(metrics: Sequence[str], line: Line) -> str:
    return pair([number(line.paper(metric)) for metric in metrics])


def _measured(metrics: Sequence[str], line: Line) -> str:
    return line.measured(metrics)


def _delta(dataset: str, metrics: Sequence[str], line: Line) -> str:
    return pair([number(line.delta(metric) if _like_the_paper(dataset, line) else None, "+") for metric in metrics])


def _like_the_paper(dataset: str, line: Line) -> bool:
    """Whether all images were scored, and COCO by a detector's boxes."""
    return line.param("limit") is None and not (dataset == "COCO" and line.param("boxes") == TRUE_BOXES)


def _over(box: Line, line: Line) -> str:
    gains = []
    for score in SCORES:
        ours, filled = line.mean(score), box.mean(score)
        gains.append(number(None if ours is None or filled is None or line is box else ours - filled, "+"))
    return pair(gains)


def _unmeasured(row: PublishedRow) -> str:
    what = "its official weights were not evaluated here" if "official" in row.run else "not trained here"
    return f"{row.label}: {what}; `{row.run}` does it."


def _short(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text[:8] if len(text) >= 32 else text


def _record(line: Line, datasets: list[str], comparable: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "system": line.series.backbone if line.series else None,
        "label": line.series.label if line.series else None,
        "paper_label": line.published.label if line.published else None,
        **{name: line.param(name) for name in ("frame", *_TELLING)},
        "seeds": " ".join(str(row.cell.params.get("seed")) for row in line.rows) or None,
        "status": " ".join(row.status for row in line.rows) or None,
        "fps_paper": line.paper("fps"),
        "params_m_paper": _params_paper(line),
        **{name: line.mean(name) for name in ("params_backbone", "params_total", "train_seconds", "eval_seconds")},
    }
    for name in ("", *datasets):
        for metric in (f"{name}/{score}".lstrip("/") for score in _scores(name)):
            record |= {metric: line.mean(metric), f"{metric}_sd": line.deviation(metric)}
            if name in PAPER_DATASETS:
                delta = line.delta(metric) if comparable and _like_the_paper(name, line) else None
                record |= {f"{metric}_paper": line.paper(metric), f"{metric}_delta": delta}
    return record


def _caption(device: str, rows: list[Row], series: list[Series]) -> str:
    params = rows[0].cell.params
    facts = [f"Data: {_DATA.get(str(params.get('data')), _short(params.get('data')))}", f"Device: {device}"]
    facts += [f"Protocol: {_short(params.get('protocol'))}", f"Frame: {_short(params.get('frame'))} pixels"]
    for name in ("weights", "recipe", "choice"):
        values = sorted({_short(one.param(name)) for one in series if one.param(name) is not None})
        facts += [f"{name.capitalize()}: {', '.join(values)}"] if values else []
    limits = {row.cell.params.get("limit") for row in rows}
    limit = limits.pop() if len(limits) == 1 else None
    facts += [f"Only the first {counted(limit, 'image')} of each set"] if limit is not None else []
    boxes = {row.cell.params["boxes"] for row in rows if row.cell.params.get("boxes") is not None}
    facts += ["COCO's prompts: the annotated boxes, not a detector's"] if boxes == {TRUE_BOXES} else []
    seeds = sorted({str(row.cell.params["seed"]) for row in rows if row.cell.params.get("seed") is not None})
    return ". ".join([*facts, *([f"Seeds: {', '.join(seeds)}"] if seeds else [])]) + "."


def _notes(lines: list[Line], params: Any) -> list[str]:
    failed = [(line, row) for line in lines for row in line.rows if row.status not in NUMBERED and row.error]
    notes = [f"{line.series.label}: {row.status}: {row.error}" for line, row in failed if line.series]
    notes += [note for line in lines for row in line.numbered for note in _left_out(row)]
    fingerprints = sorted((params.get("dataset_fingerprints") or {}).items())
    if fingerprints:
        notes.append(f"Data fingerprints: {', '.join(f'{name} {str(sha)[:12]}' for name, sha in fingerprints)}.")
    return list(dict.fromkeys(notes))


def _paper_notes(lines: list[Line], published: PublishedTable) -> list[str]:
    notes = [_unmeasured(line.published) for line in lines if line.published and line.series is None]
    notes.append(f"Paper: {published.paper.title}, arXiv {published.paper.arxiv}, {published.source}.")
    notes += [f"Paper: {caveat}" for caveat in published.caveats]
    quoted = [line.published for line in lines if line.published]
    return notes + [f"{row.label}: {caveat}" for row in quoted for caveat in row.caveats]


def _left_out(row: Row) -> list[str]:
    """What a row's scores leave out or count in a way of their own, one line for each set and kind."""
    run = row.provenance.get("run") or {}
    notes = [
        f"{name}: {what}: {len(found)} ({', '.join(found[:_NAMED])}{', ...' if len(found) > _NAMED else ''})."
        for kind, what in _ODD.items()
        for name, found in (run.get(kind) or {}).items()
        if isinstance(found, list)
    ]
    outside = (run.get("boxes") or {}).get("outside")
    if outside:
        notes.append(f"COCO: boxes outside their image or without an area, left out: {outside}.")
    return notes
