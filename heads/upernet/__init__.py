"""UperNet on any backbone: the decoder of the semantic segmentation suite."""

from .head import FcnHead as FcnHead
from .head import UperHead as UperHead
from .pyramid import Pyramid as Pyramid
from .segmenter import Segmenter as Segmenter
from .segmenter import create_segmenter as create_segmenter
