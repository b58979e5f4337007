"""The suites `data-stats` (Table 2: images and masks of training sets) and `model-stats` (Table 1: what models are)."""

from .data_stats import DATA_STATS, DataStats, DataStatsOptions
from .model_stats import MODEL_STATS, ModelStats, ModelStatsOptions

__all__ = [
    "DATA_STATS",
    "MODEL_STATS",
    "DataStats",
    "DataStatsOptions",
    "ModelStats",
    "ModelStatsOptions",
]
