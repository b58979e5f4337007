"""Metrics: masks first, each at the resolution of the original image."""

from .coco_ap import coco_ap
from .masks import boundary_band, boundary_iou, boundary_width, mask_iou

__all__ = ["boundary_band", "boundary_iou", "boundary_width", "coco_ap", "mask_iou"]
