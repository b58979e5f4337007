"""Rows and contact sheets that the tests of the report page share."""

import numpy as np
from linbench.results.gallery.sheet import GalleryItem, gallery
from linbench.results.gallery.tiles import Shown, pack_mask, save_tile, shown_samples
from linbench.results.html import write_page
from linbench.results.reporting.report import tables_of
from linbench.results.schema import Cell, Row
from rows_for_tests import hq_row, latency_row, three

SIZES = (512, 768, 1024, 1280, 1536, 1792, 2048)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def measured(row, day=1):
    """The row with a provenance as complete as `collect` gives."""
    row.provenance |= {
        "linbench": {"version": "0.1.0", "commit": COMMIT, "dirty": True},
        "python": "3.11.7",
        "packages": {"torch": "2.6.0", "timm": "1.0.15", "numba": "0.61.0", "mamba-ssm": None},
        "torch": {"version": "2.6.0+cpu", "cuda": None, "threads": 2},
        "kernels": {"bi_wkv": "cpu"},
        "run": {"steps": 1200, "precision": "fp32", "bad_images": {"DIS": ["a.jpg"]}},
    }
    row.created_utc = f"2026-01-{day:02d}T12:30:00.000000+00:00"
    return row


def few_rows():
    rows = [
        latency_row(name, res, ms * (res / 512) ** 2) for name, ms in (("rwkvsam-s", 9), ("vim-s", 14)) for res in SIZES
    ]
    rows += [latency_row("vit-s", res, 12 * (res / 512) ** 4, attention="sdpa") for res in SIZES[:4]]
    rows += [latency_row("vit-s", res, status="oom", attention="sdpa") for res in SIZES[4:]]
    scores = {"rwkvsam-s": 84.5, "vim-s": 81.25, "vit-s": 80.125, "vmamba-s": 82.0}
    rows += [
        hq_row(name, three(iou, iou - 9), seed=0, weights="random", stage="trained") for name, iou in scores.items()
    ]
    rows.append(hq_row("vrwkv-s", status="failed", seed=0, weights="random", stage="trained"))
    return [measured(row, day) for day, row in enumerate(rows, 1)]


def many_rows():
    """1,000 rows: 100 backbones at seven sizes, and three seeds of each on masks."""
    rows = []
    for index in range(100):
        name = f"timm:model_{index:03d}"
        rows += [latency_row(name, res, (1 + index / 10) * (res / 512) ** 2) for res in SIZES]
        rows += [hq_row(name, three(60 + index / 4, 50 + index / 4), seed=seed, stage="trained") for seed in range(3)]
    return [measured(row, 1 + index % 28) for index, row in enumerate(rows)]


def hostile_row(text):
    row = Row(Cell("latency", "vit-s", {"res": 64, "note": text}), "failed", {}, {}, {}, text)
    row.provenance = {"device": {"name": text}, "linbench": {"commit": text}, "packages": [text]}
    return row


def draw_sheet(folder, name):
    y, x = np.mgrid[:90, :120]
    picture = np.stack([2 * x, 2 * y, 0 * x + 90], axis=-1).astype(np.uint8)
    truth = (x - 60) ** 2 + (y - 45) ** 2 < 900
    items = [
        GalleryItem(picture, (25, 10, 95, 80), np.roll(truth, shift, 1), truth, f"DIS {shift}.png") for shift in (3, 8)
    ]
    return gallery(items, folder / "figures" / f"gallery-{name}.png")


def hold_predictions(folder, rows, kind="demo"):
    """Give rows a prediction of one image each, as the suite `sam-hq` keeps them."""
    y, x = np.mgrid[:60, :80]
    picture = np.stack([3 * x, 4 * y, 0 * x + 90], axis=-1).astype(np.uint8)
    truth = (x - 40) ** 2 + (y - 30) ** 2 < 400
    tile = save_tile(folder, picture, kind)
    for index, row in enumerate(rows):
        masks = pack_mask(np.roll(truth, 4 * index, 1)), pack_mask(truth)
        row.samples |= shown_samples([Shown("DIS", "lattice.png", tile, [20.0, 10.0, 60.0, 50.0], *masks, 0.75, 0.5)])
    return rows


def page(folder, rows, **options):
    return write_page(rows, tables_of(rows), folder, **options)
