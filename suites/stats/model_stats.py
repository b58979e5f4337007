"""The suite `model-stats`: stages, parameters and multiply-adds of backbones, counted from shapes (Table 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...backbones import BackboneSpec, backbone_spec, list_backbones
from ...errors import LinBenchError, StoreError, UsageError
from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ...results.store import Store
from ..base import Event, Progress

PAPER_BACKBONES = ("rwkvsam-t", "rwkvsam-s", "rwkvsam-b")
SIDES = (224, 1024)
CONVENTION = "backbone"


@dataclass(frozen=True)
class ModelStatsOptions:
    """What to count.

    Attributes:
        backbones: Registry names and shell patterns of them, `timm:<name>`, or `module:function`.
        sides: Sides of the images whose multiply-adds are counted, in pixels.
    """

    backbones: tuple[str, ...] = PAPER_BACKBONES
    sides: tuple[int, ...] = SIDES

    def __post_init__(self) -> None:
        if not self.backbones:
            raise UsageError(f"no backbone given; for example --backbone {','.join(PAPER_BACKBONES)}")
        if not self.sides or min(self.sides) < 1:
            raise UsageError(f"--res is {self.sides}; expected positive sides, for example --res 224,1024")
        for name in self.names():
            multiple = backbone_spec(name).image_multiple
            if odd := [side for side in self.sides if side % multiple]:
                raise UsageError(f"--res {odd[0]}: {name} takes sides that are multiples of {multiple}")

    def names(self) -> tuple[str, ...]:
        """The backbones, patterns resolved."""
        found: list[str] = []
        for name in self.backbones:
            matching = list_backbones(name) if set(name) & set("*?[") else [name]
            if not matching:
                raise UsageError(f"no backbone is called like '{name}'; `bench list backbones` shows all")
            found += matching
        return tuple(dict.fromkeys(found))


class ModelStats:
    """Counts of backbones; see `suites.base.Suite`."""

    name = "model-stats"
    summary = "stages, parameters and multiply-adds of backbones, held against their specs"

    def plan(self, options: ModelStatsOptions) -> list[Cell]:
        """One cell for each backbone; its description is part of it."""
        return [_cell(backbone_spec(name), options) for name in options.names()]

    def run(
        self, options: ModelStatsOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Build each backbone on the meta device, count, store the row and yield it; see `suites.base.Suite.run`.

        A count that is not the spec's gives a row `wrong`, a backbone that cannot be built one `failed`.
        """
        cells = self.plan(options)
        for done, cell in enumerate(cells):
            row = store.done(cell) if resume else None
            if row is None:
                if progress is not None:
                    progress(Event(done, len(cells), f"{cell.backbone}: counting"))
                row = _row(cell, options, store)
                store.write(row)
            yield row


MODEL_STATS = ModelStats()


def _cell(spec: BackboneSpec, options: ModelStatsOptions) -> Cell:
    digest = hashlib.sha256(canonical_json({**asdict(spec), "macs": None, "operator_flops": None}).encode())
    params = {"sides": list(options.sides), "parameters": CONVENTION, "spec_sha": digest.hexdigest()[:12]}
    return Cell(ModelStats.name, spec.name, params)


def _row(cell: Cell, options: ModelStatsOptions, store: Store) -> Row:
    try:
        return _counted(cell, backbone_spec(cell.backbone), options)
    except KeyboardInterrupt:
        store.write(Row(cell, "interrupted", provenance=collect(), error="interrupted"))
        raise
    except (LinBenchError, RuntimeError) as error:
        if isinstance(error, (UsageError, StoreError)):
            raise
        return Row(cell, "failed", provenance=collect(), error=str(error).splitlines()[0])


def _counted(cell: Cell, spec: BackboneSpec, options: ModelStatsOptions) -> Row:
    from ...backbones.counting import count_operations
    from .layout import stages_of

    backbone, stages = stages_of(spec.name)
    metrics: dict[str, float | int | None] = {"parameters": sum(p.numel() for p in backbone.parameters())}
    expected: dict[str, int] = {}
    if CONVENTION in spec.params:
        expected["parameters"] = spec.params[CONVENTION]
    for side in options.sides:
        found = count_operations(spec.name, side)
        metrics |= {f"macs_{side}": found.macs, f"operator_flops_{side}": found.operator_flops}
        if side in spec.macs:
            expected |= {f"macs_{side}": spec.macs[side], f"operator_flops_{side}": spec.operator_flops.get(side, 0)}
    samples: dict[str, list[Any]] = {
        "stage/stride": [stage.stride for stage in stages],
        "stage/channels": [stage.channels for stage in stages],
        "stage/blocks": [stage.blocks or None for stage in stages],
        "stage/kinds": [dict(stage.kinds) for stage in stages],
    }
    wrong = [f"{name} is {metrics[name]}, its spec says {value}" for name, value in expected.items()]
    wrong = [text for text, (name, value) in zip(wrong, expected.items(), strict=True) if metrics[name] != value]
    facts = {"verified": sorted(expected), "convention": CONVENTION, "source": spec.source, "note": spec.note}
    provenance = {**collect(), "run": facts}
    return Row(cell, "wrong" if wrong else "ok", metrics, samples, provenance, "; ".join(wrong) or None)
