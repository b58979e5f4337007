"""The processes that work on one run together, as `torchrun` or `accelerate launch` started them.

What they are is read from the environment that both set, so that asking costs no import of torch.
"""

from __future__ import annotations

import os


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes there are, 1 where nothing launched several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes rows, checkpoints and everything else that one must write."""
    return rank() == 0
