"""The suite `ade20k`: semantic segmentation with UperNet (Table 5), on ADE20K or on folders in its or CamVid's layout.

Each backbone gets a four-level pyramid and UperNet, and is trained by the one recipe or evaluated with given weights.
"""

from .options import Ade20kOptions
from .suite import SUITE, Ade20k

__all__ = ["SUITE", "Ade20k", "Ade20kOptions"]
