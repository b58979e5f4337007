"""The suite `classification`: top-1 and top-5 accuracy on ImageNet (Table 4), or on class folders of your own.

Each backbone gets a classifier head and is trained by the one recipe, or is evaluated with given weights.
"""

from .options import ClassificationOptions
from .suite import SUITE, Classification

__all__ = ["SUITE", "Classification", "ClassificationOptions"]
