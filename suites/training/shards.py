"""Work on a list shared by the processes of a run: every item once, the results in every process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from ...errors import LinBenchError
from .accelerators import PATIENCE
from .processes import rank, world_size

ResultT = TypeVar("ResultT")


def my_share(count: int, *, batch: int = 1) -> list[int]:
    """The numbers of the items that this process works on, rising; each item is one process's.

    Whole batches are dealt out in turn. An item so has the same neighbours in its batch, whose sums round alike, as
    where one process goes through all of them.

    Args:
        count: Items of all processes.
        batch: Items that are computed together.
    """
    return [item for item in range(count) if item // batch % world_size() == rank()]


def gathered(mine: Mapping[int, ResultT], count: int) -> dict[int, ResultT]:
    """The results of all processes by item, rising; every process gets them.

    Args:
        mine: This process's, for each item of `my_share`; they can be pickled.
        count: Items of all processes.

    Raises:
        LinBenchError: An item has no result, or is in two processes.
    """
    pairs = list(mine.items())
    if world_size() > 1:
        pairs = gather_object(pairs)
    if sorted(item for item, _ in pairs) != list(range(count)):
        raise LinBenchError(
            f"{len(pairs)} results for {count} items from {world_size()} processes; expected one each: start all "
            "processes with the same options"
        )
    return dict(sorted(pairs, key=lambda pair: pair[0]))


def wait_for_all() -> None:
    """Return when every process has come here, for example after the main one wrote a file that all read."""
    if world_size() > 1:
        torch.distributed.barrier()


def join(device: str) -> None:
    """Meet the other processes, where there are any, before the first exchange with them.

    Args:
        device: `cpu` for gloo, else NCCL.
    """
    if world_size() > 1:
        PartialState(cpu=device == "cpu", timeout=PATIENCE)
        _board()


def is_first(name: str) -> bool:
    """Whether no other process of this run has asked this for the same name; true where the others are out of reach."""
    try:
        return world_size() == 1 or _board().add(f"linbench/{name}", 1) == 1
    except RuntimeError:
        return True


@lru_cache(maxsize=1)
def _board() -> Any:
    """The `torch.distributed.Store` where all processes can count, whether or not they still work together."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return store


def leave() -> None:
    """Part from the other processes at the end of a run."""
    if world_size() > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
