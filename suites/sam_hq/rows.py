"""What a row of the suite `sam-hq` holds: metrics, samples, the contact sheet beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...heads.sam import System
from ...results.gallery.sheet import GalleryItem, gallery
from ...results.gallery.tiles import TILE_SIDE, Shown, pack_mask, save_tile, shown_samples
from ..metrics.edges import EDGE_PERCENT
from ..training.engine import Curve
from .evaluate import Scores, shrunk


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
    """Names and scores of every mask, and the errors of each set by distance to the true edge."""
    samples: dict[str, list[Any]] = {"edge/percent": list(EDGE_PERCENT)} if scores else {}
    for name, found in scores.items():
        samples[f"{name}/names"] = list(found.names)
        samples[f"{name}/iou"] = [round(value, 6) for value in found.iou]
        samples[f"{name}/biou"] = [round(value, 6) for value in found.biou]
        samples[f"{name}/edge_wrong"] = list(found.edges.wrong)
        samples[f"{name}/edge_pixels"] = list(found.edges.pixels)
    return samples


def gallery_samples(scores: dict[str, Scores], root: Path, kind: str) -> dict[str, list[Any]]:
    """The predictions that were kept, small, for a figure that sets systems side by side.

    Args:
        scores: Of each set.
        root: The results folder, where the pictures go.
        kind: Kind of data.
    """
    shown = []
    for dataset, one in scores.items():
        for name, found in one.kept:
            small = shrunk(found, TILE_SIDE)
            box = [round(value, 2) for value in small.box]
            tile = save_tile(root, small.image, kind)
            masks = pack_mask(small.mask), pack_mask(small.truth)
            shown.append(Shown(dataset, name, tile, box, *masks, round(found.iou, 6), round(found.biou, 6)))
    return shown_samples(shown)


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
