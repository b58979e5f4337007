"""The suite `distill`: a SAM system's encoder learns a teacher's image embeddings (RWKV-SAM, Equation 8).

The teacher is any SAM system. Its embeddings are computed beside the training, or once into a folder of checked shards
that later trainings read. Images are never augmented.
"""

from .options import DistillOptions
from .suite import SUITE, Distill, announce, trained_weights

__all__ = ["SUITE", "Distill", "DistillOptions", "announce", "trained_weights"]
