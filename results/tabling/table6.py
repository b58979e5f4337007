"""The paper's Table 6: how the decoder fuses fine maps (left), and where the encoder has its RWKV blocks (right)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..published import load_published
from ..schema import Row
from ..series import group, newest
from .compared import Compared, ComparedLine, Entry, Plain, compared_table
from .complete import Variants, newest_complete
from .masks_compared import (
    data_words,
    device_of,
    mask_columns,
    mask_entries,
    one_decimal,
    shared_facts,
    steps_notes,
    steps_text,
    trained_rows,
)
from .speeds import speed_column, speed_entry, speed_words, speeds
from .tables import Table

FUSION, ENCODER = "table6-decoder", "table6-encoder"
_LEAST_LINES = 2
_MILLION = 1e-6
_FACTS = {
    "frame": "Frame",
    "weights": "Start",
    "encoder": "Encoder at the start",
    "recipe": "Recipe",
    "recipe_sha": "Recipe digest",
    "seed": "Seeds",
    "limit": "Only the first images of a set",
}


def table6(rows: Sequence[Row]) -> list[Table]:
    """The tables of both ablations, one for each device and data that at least two of their lines were measured on.

    Lines of a table share all settings but the ablated one; of several settings the newest counts that has all lines.
    Speeds are of the same device, and likewise of one setting.
    """
    kept = newest(rows)
    masks = group(trained_rows(kept), lambda row: (*_place(row), row.cell.backbone))
    accuracies = group((row for row in kept if row.cell.suite == "classification"), _place)
    tables = [_fusion(rows, members) for _, members in masks] + [_encoder(rows, members) for _, members in accuracies]
    return [table for table in tables if table is not None]


def _place(row: Row) -> tuple[Any, ...]:
    return device_name(row), row.cell.params.get("data")


def _fusion(rows: Sequence[Row], scored: Sequence[Row]) -> Table | None:
    published = load_published()[FUSION]
    names = [line.names[0] for line in published.rows]
    found = newest_complete(scored, wanted=names, variant=_refine, ablated=("refine",))
    if len(found) < _LEAST_LINES:
        return None
    device, data = _place(scored[0])
    backbone = scored[0].cell.backbone
    of = {"device": device, "stage": "e2e", "backbones": (backbone, f"{backbone}+sam")}
    times = speeds(rows, published, **of, variant=_refine, ablated=("refine",))
    lines = [
        ComparedLine(
            name,
            published.row(name),
            {"fps": speed_entry(times.get(name, ())), **mask_entries(found.get(name, ()))},
        )
        for name in names
    ]
    steps = Plain("", "steps", lambda line: steps_text(_scored(line)), _scored)
    return compared_table(
        "Ablation of the fusion in the decoder: mIoU in percent",
        _caption(found, times, data, [f"System: {backbone}"]),
        lines,
        [speed_column(times, published, device), *mask_columns(data), steps],
        published,
        notes=[
            "FPS: of encoder and decoder with one box, one image at a time.",
            "Each is trained from the same start by the same recipe; steps: of stage 1 + of the joint stage.",
            "The paper gives neither sizes nor place of the mamba, rwkv and dcn modules: these are LinBench's reading.",
            *steps_notes([row for some in found.values() for row in some], "joint"),
        ],
        record={"table": "fusion", "device": device, "data": data, "backbone": backbone},
    )


def _encoder(rows: Sequence[Row], classified: Sequence[Row]) -> Table | None:
    published = load_published()[ENCODER]
    names = [line.names[0] for line in published.rows]
    found = newest_complete(classified, wanted=names, variant=_backbone)
    if len(found) < _LEAST_LINES:
        return None
    device, data = _place(classified[0])
    times = speeds(rows, published, device=device, stage="backbone", backbones=names, variant=_backbone)
    counted = {row.cell.backbone: (row,) for row in newest(rows) if row.cell.suite == "model-stats"}
    lines = [
        ComparedLine(
            name,
            published.row(name),
            {
                "fps": speed_entry(times.get(name, ())),
                "params_m": Entry(counted.get(name, ()), "parameters", scale=_MILLION),
                "top1": Entry(found.get(name, ()), "top1"),
            },
        )
        for name in names
    ]
    accuracy = Compared("top1", "top-1", one_decimal, "high", comparable=data == "real", relative="difference")
    parameters = Compared("params_m", "params (M)", one_decimal, "low", comparable=True)
    return compared_table(
        "Ablation of the encoder: top-1 accuracy in percent",
        _caption(found, times, data, []),
        lines,
        [speed_column(times, published, device), parameters, accuracy],
        published,
        notes=[
            "FPS: of the backbone, one image at a time. Parameters: of the backbone without classifier.",
            "(x-y): RWKV blocks of the first two stages; their place after the convolutions is LinBench's choice.",
            *steps_notes([row for some in found.values() for row in some], "train"),
        ],
        record={"table": "encoder", "device": device, "data": data},
    )


def _caption(found: Variants, times: Variants, data: str | None, facts: Sequence[str]) -> str:
    rows = [row for some in found.values() for row in some]
    told = [f"Data: {data_words(data)}", f"Device: {device_of(rows)}", *facts, *shared_facts(rows, _FACTS)]
    return ". ".join([*told, speed_words(times)]) + "."


def _refine(row: Row) -> str:
    return str(row.cell.params.get("refine"))


def _backbone(row: Row) -> str:
    return row.cell.backbone


def _scored(line: ComparedLine) -> tuple[Row, ...]:
    return line.entry("DIS/miou").rows
