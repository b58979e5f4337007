"""No worker outlives the process that started it."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

SCRIPT = Path(__file__).with_name("workers_for_tests.py")
PATIENCE = 60


def until(condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("kind", ["training", "drawing"])
def test_workers_end_when_their_parent_is_killed(tmp_path, kind):
    for index in range(4):
        path = tmp_path / "images" / f"c{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 50, 3), index, np.uint8)).save(path)
    told = tmp_path / "children"
    parent = subprocess.Popen([sys.executable, str(SCRIPT), kind, str(told)])
    try:
        until(lambda: told.exists() or parent.poll() is not None)
        children = [psutil.Process(int(number)) for number in told.read_text().split()]
        assert children
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE])
