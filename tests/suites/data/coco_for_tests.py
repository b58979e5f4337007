"""Four images with instances in COCO's layout, as the tests of it share them."""

import json

import numpy as np
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data.datasets import find_dataset
from PIL import Image

SIZES = {1: (30, 40), 2: (25, 50), 5: (36, 36), 8: (20, 44)}  # height, width


def truth_of_four():
    """Two objects and a crowd in image 1, one object in 2 and 5, none in 8."""
    images = [{"id": i, "file_name": f"{i:012d}.png", "height": h, "width": w} for i, (h, w) in SIZES.items()]
    notes = []
    for image, category, (x, y, w, h) in ((1, 3, (4, 5, 10, 12)), (1, 18, (20, 2, 15, 8)), (2, 3, (0, 0, 50, 25))):
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        notes.append(
            {"image_id": image, "category_id": category, "bbox": [x, y, w, h], "area": w * h, "segmentation": [polygon]}
        )
    disc = np.hypot(*np.mgrid[-18:18, -18:18]) < 9
    (rle,) = encode_masks(disc[None])
    notes.append(
        {"image_id": 5, "category_id": 18, "bbox": [9, 9, 18, 18], "area": int(disc.sum()), "segmentation": rle}
    )
    runs = {"size": [30, 40], "counts": [600, 90, 510]}
    notes.append(
        {"image_id": 1, "category_id": 3, "bbox": [20, 0, 3, 30], "area": 90, "iscrowd": 1, "segmentation": runs}
    )
    return {
        "images": images,
        "annotations": [{"id": number, "iscrowd": 0, **note} for number, note in enumerate(notes, 1)],
        "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}],
    }


class Folder:
    """A data root that holds COCO."""

    def __init__(self, root):
        self.root = root
        self.images = root / "COCO" / "val2017"
        self.json = root / "COCO" / "annotations" / "instances_val2017.json"
        self.images.mkdir(parents=True)
        self.json.parent.mkdir()
        self.truth = truth_of_four()
        rng = np.random.default_rng(0)
        for image in self.truth["images"]:
            pixels = rng.integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.images / image["file_name"])

    def open(self):
        self.json.write_text(json.dumps(self.truth))
        return find_dataset("coco", self.root)

    def detections(self, entries):
        path = self.root / "boxes.json"
        path.write_text(json.dumps(entries))
        return path
