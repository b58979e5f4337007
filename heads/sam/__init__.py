"""SAM's promptable decoders over any backbone: points, boxes and masks in, mask logits out."""

from .build import build_hq_system, build_mask_decoder, build_sam_system, create_system
from .choice import MaskChoice, choose_masks, mask_ious
from .efficient_prompts import EfficientPromptEncoder
from .hq_decoder import HqMaskDecoder
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .official import to_linbench_keys
from .preprocess import Preprocessing
from .prompt_encoder import PromptEncoder
from .refine import REFINE_MODULES, ConvRefine, RefineEntry, StrideFourRefine, build_refine
from .system import Embedding, System
from .systems import SystemSpec, list_systems, system_spec
from .transformer import TwoWayTransformer

__all__ = [
    "REFINE_MODULES",
    "ConvRefine",
    "EfficientPromptEncoder",
    "Embedding",
    "HqMaskDecoder",
    "MaskChoice",
    "MaskDecoder",
    "Neck",
    "Preprocessing",
    "PromptEncoder",
    "RefineEntry",
    "StrideFourRefine",
    "System",
    "SystemSpec",
    "TwoScaleNeck",
    "TwoWayTransformer",
    "build_hq_system",
    "build_mask_decoder",
    "build_refine",
    "build_sam_system",
    "choose_masks",
    "create_system",
    "list_systems",
    "mask_ious",
    "system_spec",
    "to_linbench_keys",
]
