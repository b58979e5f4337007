"""Small photographs, masks and annotations in the layouts of training sets."""

import json

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64


def photo(path, seed=0, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def rectangle(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def polygon(top, left, bottom, right):
    return [[left, top, right, top, right, bottom, left, bottom]]


def entity_json(images, annotations):
    notes = [
        {
            "id": number,
            "iscrowd": 0,
            "category_id": 1,
            "image_id": image,
            "segmentation": shape,
            "area": 10,
            "bbox": [0, 0, 9, 9],
        }
        for number, (image, shape) in enumerate(annotations)
    ]
    entries = [
        {"id": number, "file_name": name, "height": height, "width": width} for number, name, height, width in images
    ]
    return json.dumps({"images": entries, "annotations": notes, "categories": [{"id": 1, "name": "box"}]})


def write_pair(images, masks, stem):
    photo(images / f"{stem}.jpg")
    masks.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rectangle(5, 5, 30, 40).astype(np.uint8) * 255).save(masks / f"{stem}.png")
