"""Fills an embedding cache for a test that kills it; arguments: images, cache folder, seconds an encoding takes."""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from linbench.heads.sam import Embedding, Preprocessing
from linbench.suites.data.image_folder import ImageFolder
from linbench.suites.distill import cache as cache_module
from linbench.suites.distill.cache import EmbeddingCache
from linbench.suites.distill.fill import fill
from linbench.suites.distill.images import DistillImages

FRAME = 32


class Pooling(torch.nn.Module):
    """A teacher whose embedding is the pooled image."""

    preprocessing = Preprocessing()

    def __init__(self, pause=0.0):
        super().__init__()
        self.pause = pause
        self.encoded = 0

    def encode(self, images):
        time.sleep(self.pause)
        self.encoded += len(images)
        return Embedding(F.avg_pool2d(images, 16))


def open_cache(folder, images, *, dtype="fp32", **identity):
    cache_module.SHARD_IMAGES = 4
    side = FRAME // 16
    return EmbeddingCache(
        folder, {"teacher": "pooling", **identity}, count=len(images), shape=(3, side, side), dtype=dtype
    )


def open_images(folder):
    return DistillImages("folder", [ImageFolder(folder)])


if __name__ == "__main__":
    found = open_images(Path(sys.argv[1]))
    fill(open_cache(Path(sys.argv[2]), found), found, Pooling(float(sys.argv[3])), frame=FRAME)
