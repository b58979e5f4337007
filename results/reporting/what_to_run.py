"""What to run for the rows of each table and figure."""

from __future__ import annotations

from collections.abc import Mapping

_DEMO = "bench run sam-hq -b rwkvsam-t --weights demo"
_SWEEP = "bench latency --res 512..2048 -b rwkvsam-s,vit-s"

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "table 1": ("bench run model-stats",),
    "table 2": ("bench run data-stats",),
    "table 3": (_DEMO,),
    "table 4": ("bench run classification -b rwkvsam-t",),
    "table 5": ("bench run ade20k -b rwkvsam-t",),
    "table 6": ("bench run ablation-fusion", "bench run ablation-encoder"),
    "table 7": ("bench run ablation-distill",),
    "table latency": (_SWEEP,),
    "table kernels": ("bench kernels",),
    "figure 1": (_DEMO, "bench latency --res 1024 -b rwkvsam-t"),
    "figure 3": (_SWEEP,),
    "figure 4": (_DEMO,),
    "figure throughput": (_DEMO, "bench latency --res 1024 --batch auto -b rwkvsam-t"),
    "figure memory": (_SWEEP,),
    "figure boundary": (_DEMO,),
    "figure kernels": ("bench kernels",),
    "figure curves": ("bench run sam-hq -b rwkvsam-s",),
}
"""One command of which rows come, or several that are all needed, by the name that messages use."""


def how_to_make(what: str) -> str:
    """The commands for `what` in words."""
    commands = COMMANDS.get(what, (f"bench run {what.removeprefix('table ')}",))
    return " and ".join(f"`{command}`" for command in commands)
