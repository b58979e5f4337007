"""Starts workers as `argv[1]` says, writes their process numbers to the file `argv[2]` and waits to be killed."""

import sys
import time
from pathlib import Path

import psutil


def training(folder):
    from dataclasses import replace

    from linbench.suites.classification.preprocess import Preprocessing
    from linbench.suites.classification.recipes import PAPER
    from linbench.suites.classification.stream import ClassStream
    from linbench.suites.data.imagenet import ImageNetFolder

    recipe = replace(PAPER, size=32, train=replace(PAPER.train, steps=10_000, images=2, images_per_pass=None))
    images = ImageNetFolder("noise", folder / "images")
    batches = ClassStream(images, recipe, recipe.train, Preprocessing(32), workers=2)(0, 0, 1)
    next(batches)
    return batches


def drawing(folder):
    from linbench.suites.data.demo.build import drawing_pool

    pool = drawing_pool(2)
    executor = pool.__enter__()
    executor.submit(time.sleep, 0).result()
    return pool


if __name__ == "__main__":
    told = Path(sys.argv[2])
    held = {"training": training, "drawing": drawing}[sys.argv[1]](told.parent)
    children = [child.pid for child in psutil.Process().children(recursive=True)]
    part = told.with_suffix(".part")
    part.write_text(" ".join(map(str, children)))
    part.replace(told)
    time.sleep(600)
