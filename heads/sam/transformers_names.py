"""Key names of Hugging Face transformers' SamModel and SamHQModel to those of the original checkpoints.

What is in the image encoder before its neck is left to the backbone, which knows these names itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_ENCODER = "vision_encoder."
_SHARED = "shared_image_embedding."
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.", "image_encoder."),
        (r"\.neck\.conv1\.", ".neck.0."),
        (r"\.neck\.layer_norm1\.", ".neck.1."),
        (r"\.neck\.conv2\.", ".neck.2."),
        (r"\.neck\.layer_norm2\.", ".neck.3."),
        (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
        (r"\.point_embed\.", ".point_embeddings."),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        (r"\.hq_token\.", ".hf_token."),
        (r"\.hq_mask_mlp\.", ".hf_mlp."),
        (r"\.layers\.0\.(weight|bias)$", r".layers.1.\1"),
        (r"\.proj_in\.(weight|bias)$", r".layers.0.\1"),
        (r"\.proj_out\.(weight|bias)$", r".layers.2.\1"),
        (r"\.compress_vit_conv1\.", ".compress_vit_feat.0."),
        (r"\.compress_vit_norm\.", ".compress_vit_feat.1."),
        (r"\.compress_vit_conv2\.", ".compress_vit_feat.3."),
        (r"\.encoder_conv1\.", ".embedding_encoder.0."),
        (r"\.encoder_norm\.", ".embedding_encoder.1."),
        (r"\.encoder_conv2\.", ".embedding_encoder.3."),
        (r"\.mask_conv1\.", ".embedding_maskfeature.0."),
        (r"\.mask_norm\.", ".embedding_maskfeature.1."),
        (r"\.mask_conv2\.", ".embedding_maskfeature.3."),
    )
)


def from_transformers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a SamModel or SamHQModel; a state dict without `vision_encoder.` keys stays as it is.

    The frequencies of the position encoding, which lie there twice, come out once.
    """
    if not any(key.startswith(_ENCODER) for key in state_dict):
        return dict(state_dict)
    return {_original(key): value for key, value in state_dict.items() if not key.startswith(_SHARED)}


def _original(key: str) -> str:
    for pattern, replacement in _RULES:
        key = pattern.sub(replacement, key)
    return key
