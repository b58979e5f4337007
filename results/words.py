"""Words that tables, figures and the page share."""

from __future__ import annotations

DATA_WORDS = {"demo": "demo data (drawn)", "folders": "the user's own folders", "real": "real images"}
"""What the parameter `data` of a cell says."""
METRIC_WORDS = {
    "miou": "mIoU",
    "mbiou": "mBIoU",
    "map": "mAP",
    "mbap": "mBAP",
    "top1": "top-1",
    "top5": "top-5",
    "macc": "mAcc",
    "aacc": "aAcc",
}
"""Metrics that are percentages, as readers know them."""


def counted(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
