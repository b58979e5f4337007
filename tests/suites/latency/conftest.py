import os
from pathlib import Path

import pytest

PLUGS = Path(__file__).parents[1] / "runner" / "plugs"


@pytest.fixture
def odd_models(monkeypatch):
    """The module `odd_models` can be imported by workers."""
    given = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGS), *([given] if given else [])]))
    return "odd_models:build"
