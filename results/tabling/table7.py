"""The paper's Table 7: masks with and without the distillation of the encoder, published beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..published import load_published
from ..schema import Row
from ..series import group, newest
from .compared import Compared, ComparedLine, Plain, compared_table
from .complete import Variants, newest_complete
from .masks_compared import (
    data_words,
    device_of,
    mask_columns,
    mask_entries,
    shared_facts,
    steps_notes,
    steps_text,
    trained_rows,
)
from .tables import Table

DISTILLED, NOT_DISTILLED = "distilled", "not distilled"
CURVE = "curve/distill embedding"


def table7(rows: Sequence[Row]) -> list[Table]:
    """One table for each device, data and backbone that was trained both ways.

    Of several settings (recipe, seed, data) the newest counts that has both lines.
    """
    tables = []
    for (device, data, _), members in group(trained_rows(newest(rows)), _key):
        found = newest_complete(members, wanted=(DISTILLED, NOT_DISTILLED), variant=_variant, ablated=("encoder",))
        if NOT_DISTILLED in found:
            tables.append(_table(device, data, found))
    return tables


def _key(row: Row) -> tuple[Any, ...]:
    return device_name(row), row.cell.params.get("data"), row.cell.backbone


def _variant(row: Row) -> str:
    start = row.cell.params.get("encoder")
    return {"distilled": DISTILLED, "fresh": NOT_DISTILLED}.get(str(start), "")


def _table(device: str, data: str | None, found: Variants) -> Table:
    published = load_published()["table7"]
    lines = [ComparedLine(name, published.row(name), mask_entries(found.get(name, ()))) for name in _order(found)]
    columns: list[Compared | Plain] = [
        *mask_columns(data),
        Plain("distillation MSE", "first", lambda line: _mse(line, 0), lambda line: line.rows),
        Plain("distillation MSE", "last", lambda line: _mse(line, -1), lambda line: line.rows),
        Plain("", "steps", lambda line: steps_text(line.rows), lambda line: line.rows),
    ]
    measured = [row for members in found.values() for row in members]
    facts = {"frame": "Frame", "weights": "Start", "recipe": "Recipe", "recipe_sha": "Recipe digest", "seed": "Seeds"}
    told = [f"Data: {data_words(data)}", f"Device: {device_of(measured)}", f"System: {measured[0].cell.backbone}"]
    notes = [
        "Both start with the teacher's decoder and an encoder of random weights, and train jointly by the same "
        "recipe; distilled: stage 1 goes before (Equation 8, and the same for the projected fine maps of the refine "
        "module). The paper's encoders come from ImageNet.",
        "steps: of stage 1 + of the joint stage.",
        *steps_notes(measured, "joint"),
    ]
    record = {"device": device, "data": data, "backbone": measured[0].cell.backbone}
    return compared_table(
        "Ablation of the distillation: mIoU in percent",
        ". ".join([*told, *shared_facts(measured, facts)]) + ".",
        lines,
        columns,
        published,
        notes=notes,
        record=record,
    )


def _order(found: Variants) -> list[str]:
    return [name for name in (DISTILLED, NOT_DISTILLED) if name in found or name == DISTILLED]


def _mse(line: ComparedLine, place: int) -> str:
    values = [row.samples[CURVE][place] for row in line.rows if row.samples.get(CURVE)]
    return "-" if not values else ", ".join(f"{value:.3g}" for value in values)
