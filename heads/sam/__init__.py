"""SAM's promptable decoder over any backbone: points, boxes and masks in, mask logits out."""

from .build import build_mask_decoder, build_sam_system, create_system, list_systems
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .official import to_linbench_keys
from .prompt_encoder import PromptEncoder
from .refine import ConvRefine
from .system import Embedding, System
from .transformer import TwoWayTransformer

__all__ = [
    "ConvRefine",
    "Embedding",
    "MaskDecoder",
    "Neck",
    "PromptEncoder",
    "System",
    "TwoScaleNeck",
    "TwoWayTransformer",
    "build_mask_decoder",
    "build_sam_system",
    "create_system",
    "list_systems",
    "to_linbench_keys",
]
