"""Recipes of the encoder ablation: several short trainings side by side in place of one long one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..classification.recipes import DEMO, RECIPES, ClassificationRecipe

# Steps end the training, as in the mask ablations; the minutes bound it on slow machines.
CLASS_DEMO = replace(DEMO, name="ablation-encoder", train=replace(DEMO.train, steps=150, max_minutes=1.4))

CLASS_RECIPES: Mapping[str, ClassificationRecipe] = {**RECIPES, "demo": CLASS_DEMO}
