"""Recipes of the mask ablations: several short trainings side by side in place of one long one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..training.recipes import DEMO, PAPER, Recipe

# Steps rather than minutes end these stages, so that a variant that is slower does not learn less; the minutes are the
# bound of machines that are slower still, where rows say how many steps were done.
FUSION_DEMO = replace(
    DEMO,
    name="ablation-fusion",
    instances=6,
    distill=replace(DEMO.distill, steps=50, max_minutes=0.4, warmup_steps=5),
    joint=replace(DEMO.joint, steps=80, max_minutes=1.6, warmup_steps=10),
)
DISTILL_DEMO = replace(
    DEMO,
    name="ablation-distill",
    distill=replace(DEMO.distill, steps=150, max_minutes=1.6),
    joint=replace(DEMO.joint, steps=250, max_minutes=3.2),
)

FUSION_RECIPES: Mapping[str, Recipe] = {"demo": FUSION_DEMO, "paper": PAPER}
DISTILL_RECIPES: Mapping[str, Recipe] = {"demo": DISTILL_DEMO, "paper": PAPER}
