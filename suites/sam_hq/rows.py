"""What a row of the suite `sam-hq` holds: metrics, samples, the contact sheet beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...heads.sam import System
from ...results.plots import GalleryItem, gallery
from ..training.engine import Curve
from .evaluate import Scores


def score_metrics(scores: dict[str, Scores]) -> dict[str, float]:
    """Means of each set and of all masks, in percent, and counts."""
    metrics = {f"{name}/{key}": value for name, found in scores.items() for key, value in found.summary().items()}
    iou = [value for found in scores.values() for value in found.iou]
    biou = [value for found in scores.values() for value in found.biou]
    if iou:
        metrics |= {"miou": 100 * sum(iou) / len(iou), "mbiou": 100 * sum(biou) / len(biou), "n": len(iou)}
    return metrics


def parameter_counts(system: System | None) -> dict[str, float]:
    """Parameters of the backbone and of the whole system; nothing for the baseline."""
    if system is None:
        return {}
    return {
        "params_backbone": sum(p.numel() for p in system.backbone.parameters()),
        "params_total": sum(p.numel() for p in system.parameters()),
    }


def score_samples(scores: dict[str, Scores]) -> dict[str, list[Any]]:
    """Names and scores of every mask."""
    samples: dict[str, list[Any]] = {}
    for name, found in scores.items():
        samples[f"{name}/names"] = list(found.names)
        samples[f"{name}/iou"] = [round(value, 6) for value in found.iou]
        samples[f"{name}/biou"] = [round(value, 6) for value in found.biou]
    return samples


def curve_samples(curves: dict[str, Curve]) -> dict[str, list[Any]]:
    """Learning curves, one step axis a loss: `curve/joint bce`, `curve/joint bce_step`, ..."""
    samples: dict[str, list[Any]] = {}
    for stage, curve in curves.items():
        names = {key for point in curve.points for key in point} - {"step", "seconds", "lr"}
        for name in sorted(names):
            points = [point for point in curve.points if name in point]
            label = name if name.startswith("probe") else f"{stage} {name}"
            samples[f"curve/{label}"] = [round(point[name], 5) for point in points]
            samples[f"curve/{label}_step"] = [point["step"] for point in points]
    return samples


def draw_gallery(path: Path, scores: dict[str, Scores]) -> None:
    """Draw the contact sheet of the predictions that were kept."""
    items = [
        GalleryItem(
            found.image,
            found.box,
            found.mask,
            found.truth,
            f"{dataset} {name}: IoU {found.iou:.2f}, boundary IoU {found.biou:.2f}",
        )
        for dataset, one in scores.items()
        for name, found in one.kept
    ]
    if items:
        gallery(items, path)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
