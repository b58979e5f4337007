"""Fixtures of the backbone tests: small images, one thread, models that cost nothing to build."""

import linbench
import pytest
import torch


@pytest.fixture(autouse=True)
def _small_tensors(one_thread):
    return one_thread


@pytest.fixture(scope="session")
def image():
    """`image(height, width)`: one normalised-looking image of noise, the same each time."""

    def make(height, width, *, batch=1):
        return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(7))

    return make


@pytest.fixture(scope="session")
def hollow():
    """`hollow(name, **overrides)`: a backbone on the meta device, for its names, shapes and counts."""

    def build(name, **overrides):
        with torch.device("meta"):
            return linbench.create_backbone(name, **overrides)

    return build
