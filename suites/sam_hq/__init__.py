"""The suite `sam-hq`: box-prompted masks on DIS5K, COIFT, HRSOD (Table 3) or on folders of your own.

Each backbone is put under the one SAM decoder, trained by the one recipe (or given weights), and scored by one of the
two published protocols. The box itself, filled, is scored beside as `baseline:box`.
"""

from .options import BOX_BASELINE, SamHqOptions
from .suite import SUITE, SamHq

__all__ = ["BOX_BASELINE", "SUITE", "SamHq", "SamHqOptions"]
