"""Fixtures of the backbone tests: small images, one thread, models that cost nothing to build."""

import sys
import threading
from pathlib import Path

import linbench
import pytest
import torch
from linbench.backbones import download

sys.path.insert(0, str(Path(__file__).parent))


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


@pytest.fixture
def server():
    """A server of one file; see `server_for_tests`."""
    from server_for_tests import Server

    serve = Server()
    threading.Thread(target=serve.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield serve
    serve.shutdown()
    serve.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test alone, with the network allowed."""
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("LINBENCH_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT_S", 0.01)
    return tmp_path / "cache"
