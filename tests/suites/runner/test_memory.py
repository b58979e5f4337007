"""What a process used and what its heap held, in a worker's environment."""

import json
import os
import subprocess
import sys

import pytest
from linbench.suites.runner.environment import KEEP_MEMORY

MIB = 2**20
# Blocks that grow from one to the next: none of them fits into the hole that the one before has left.
CALL = """
import ctypes, json, torch
from linbench.suites.runner.memory import HostMeter

def call():
    held = []
    for mib in range(4, 40, 2):
        held = [torch.ones(mib * 2**18), torch.ones(8)]
meter = HostMeter()
meter.release()
meter.start()
{stretch}
    call()
found = meter.read()
print(json.dumps([found.peak - found.before, found.reserved - found.before]))
"""


def measured(stretch, **environment):
    script = CALL.format(stretch=stretch)
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return [value / MIB for value in json.loads(done.stdout)]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_what_is_used_is_told_apart_from_what_the_heap_holds():
    # Two blocks are alive at once, the last two: 36 and 38 MiB.
    used, _ = measured("with meter.counted():", **KEEP_MEMORY)
    assert 70 < used < 84
    all_held, held = measured("if True:", **KEEP_MEMORY)
    assert all_held == held > 1.2 * used


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_later_calls_use_the_heap_again():
    used, held = measured("with meter.counted():\n    call()\nif True:", **KEEP_MEMORY)
    assert held > 1.2 * used
