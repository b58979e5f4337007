"""The learning rate of a step."""

from __future__ import annotations

import math

from .recipes import Optimisation


def learning_rate(optimisation: Optimisation, step: int, fraction: float) -> float:
    """Rate of a step: linear warm-up by steps, times the schedule by the fraction of the stage that is over (0..1)."""
    warmup = min(1.0, (step + 1) / (optimisation.warmup_steps + 1))
    over = min(fraction, 1.0)
    falling = 1 - over if optimisation.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * over))
    return optimisation.lr * warmup * (optimisation.lr_end + (1 - optimisation.lr_end) * falling)
