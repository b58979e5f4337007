"""What a figure shows, as data: the same on every machine, whatever draws it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..schema import canonical_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIGITS = 6


def drawn_digest(figure: Figure, style: Mapping[str, str]) -> str:
    """SHA-256 of the numbers, texts, colours and images that a figure shows, numbers to six digits, and of its look."""
    shown = [
        dict(style),
        _numbers(figure.get_size_inches()),
        _texts(figure.texts),
        [_legend(legend) for legend in figure.legends],
    ]
    text = canonical_json([*shown, [_axes(ax) for ax in figure.axes]])
    return hashlib.sha256(text.encode()).hexdigest()


def _axes(ax: Axes) -> dict[str, Any]:
    from matplotlib.ticker import FixedFormatter

    fixed = [axis for axis in (ax.xaxis, ax.yaxis) if isinstance(axis.get_major_formatter(), FixedFormatter)]
    legend = ax.get_legend()
    return {
        "scales": [ax.get_xscale(), ax.get_yscale()],
        "titles": [ax.get_title(loc) for loc in ("left", "center", "right")] + [ax.get_xlabel(), ax.get_ylabel()],
        "ticks": [[label.get_text() for label in axis.get_ticklabels()] for axis in fixed],
        "legend": _legend(legend) if legend else [],
        "texts": _texts(ax.texts),
        "lines": [
            [str(line.get_color()), str(line.get_marker()), str(line.get_linestyle()), _numbers(line.get_xydata())]
            for line in ax.lines
        ],
        "collections": [
            [_numbers(found.get_offsets()), [_numbers(path.vertices) for path in found.get_paths()]]
            for found in ax.collections
        ],
        "patches": [
            _numbers(patch.get_patch_transform().transform_path(patch.get_path()).vertices) for patch in ax.patches
        ],
        "images": [
            hashlib.sha256(np.ascontiguousarray(image.get_array()).tobytes()).hexdigest() for image in ax.images
        ],
    }


def _texts(texts: Iterable[Any]) -> list[str]:
    return [text.get_text() for text in texts]


def _legend(legend: Any) -> list[str]:
    return _texts([legend.get_title(), *legend.get_texts()])


def _numbers(values: Any) -> list[float | None]:
    array = np.asarray(values, dtype=float)
    return [None if not np.isfinite(value) else float(f"{value:.{DIGITS}g}") for value in array.reshape(-1)]
