"""Learning curves of trained systems."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..provenance import device_name
from ..schema import Row
from ..series import Series, group, newest, split_series
from ..store import folder_name
from ..words import DATA_WORDS, METRIC_WORDS
from .canvas import line_style
from .plots import Plot, save_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FIRST_SUITE = "sam-hq"
_LOSSES = {
    "bce": "cross-entropy loss",
    "dice": "Dice loss",
    "embedding": "embedding loss",
    "fine": "fine-feature loss",
    "main": "main loss",
    "auxiliary": "auxiliary loss",
}
_CROWDED, _MARKERS = 24, 10  # points of a curve, and those of a longer one that are marked
_AXES_INCHES, _FRAME_INCHES = 1.35, 0.4


def learning_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `curve-<backbone>-<data>` for each backbone, data and device whose rows hold `curve/*` samples.

    Other suites than `sam-hq` have their name before the backbone's. `curve/<name>` is drawn over `curve/<name>_step`
    where there is one, else over `curve/step`; one panel a name, one line a row. Nulls are left out.

    Raises:
        UsageError: A curve has not as many values as steps.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return row.cell.suite, row.cell.backbone, row.cell.params.get("data"), device_name(row)

    paths: list[Path] = []
    drawn: dict[str, int] = {}
    for (suite, backbone, data, device), members in group((row for row in newest(rows) if _names(row)), key):
        series = split_series(members, varying=(), shown=("dataset_fingerprints", "train_fingerprints", "device"))
        stem = f"curve-{'' if suite == _FIRST_SUITE else f'{suite}-'}{folder_name(backbone)}-{data}"
        drawn[stem] = drawn.get(stem, 0) + 1
        stem += f"-{drawn[stem]}" if drawn[stem] > 1 else ""
        paths += _draw(series, f"{suite}, {backbone}, {DATA_WORDS.get(str(data), str(data))}, {device}", folder, stem)
    return paths


def _draw(series: Sequence[Series], title: str, folder: Path, stem: str) -> list[Path]:
    names = sorted(
        {name for one in series for row in one.rows for name in _names(row)}, key=lambda name: (name != "loss", name)
    )
    plots = [Plot(partial(_panel, name=name, series=series), _AXES_INCHES, _FRAME_INCHES) for name in names]
    legend = [one.label for one in series] if len(series) > 1 else []
    return save_plots(plots, folder, stem, title=title, legend=legend)


def _names(row: Row) -> list[str]:
    names = [key.removeprefix("curve/") for key in row.samples if key.startswith("curve/")]
    return [name for name in names if name != "step" and not name.endswith("_step")]


def _panel(ax: Axes, name: str, series: Sequence[Series]) -> None:
    for index, one in enumerate(series):
        for row in one.rows:
            values = row.samples.get(f"curve/{name}")
            if values is None:
                continue
            steps = row.samples.get(f"curve/{name}_step", row.samples.get("curve/step", []))
            if len(steps) != len(values):
                raise UsageError(f"row {row.cell.key}: curve/{name} has {len(values)} values for {len(steps)} steps")
            points = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
            style = line_style(index) | {"markersize": 2.5}
            if len(points) > _CROWDED:  # markers tell lines apart; beside no other line there is no need
                style |= {"markevery": len(points) // _MARKERS} if len(series) > 1 else {"marker": None}
            ax.plot(*zip(*points, strict=True), label=one.label, **style) if points else None
    ax.set_ylabel(_words(name))
    ax.set_xlabel("training step")


def _words(name: str) -> str:
    """`probe_miou` becomes `probe mIoU (%)`, `joint bce` becomes `joint cross-entropy loss`."""
    stage, _, last = name.replace("_", " ").rpartition(" ")
    told = f"{METRIC_WORDS[last]} (%)" if last in METRIC_WORDS else _LOSSES.get(last, last)
    return f"{stage} {told}".strip()
