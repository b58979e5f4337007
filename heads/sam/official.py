"""Official key names to those of LinBench's SAM modules.

Known layouts: segment-anything, HQ-SAM, MobileSAM (`image_encoder.`, `prompt_encoder.`, `mask_decoder.`), EfficientSAM,
transformers' SamModel and SamHQModel, RWKV-SAM's whole model (`backbone.`, `neck.`, `pe.`,
`mask_decoder.mask_decoder.`), its decoder alone, its distillation student (`backbone_student.`, `neck_student.`) and
LinBench's own. SAM's names are LinBench's, so little is to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from .transformers_names import from_transformers

_TO_SYSTEM = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.neck\.", "neck."),
        (r"^image_encoder\.", "backbone."),
        (r"^(backbone|neck)_student\.", r"\1."),
        (r"^neck\.(\d)\.", r"neck.out_proj.\1."),
        (r"^pe\.", "prompt_encoder."),
        (r"^mask_decoder\.mask_decoder\.", "mask_decoder."),
        (r"^(?:mask_decoder\.)?((?:hr|mr|mix)_feat_proj\.)", r"mask_decoder.refine.\1"),
        # EfficientSAM's decoder.
        (r"(^|\.)final_output_upscaling_layers\.0\.([01])\.", r"\1output_upscaling.\2."),
        (r"(^|\.)final_output_upscaling_layers\.1\.0\.", r"\1output_upscaling.3."),
        (r"((?:output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.\d)\.0\.", r"\1."),
        (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.fc\.", r"\1.layers.2."),
        (r"(transformer\.layers\.\d\.mlp)\.layers\.0\.0\.", r"\1.lin1."),
        (r"(transformer\.layers\.\d\.mlp)\.fc\.", r"\1.lin2."),
    )
)
_MULTIMASK_HYPERNETWORK = re.compile(r"(^|\.)output_hypernetworks_mlps\.[1-9]")


class OfficialNames(nn.Module):
    """Base of the modules that `linbench.load_official` can fill from official checkpoints.

    Attributes:
        official_prefix: Where this part stands in a whole system; empty for the system itself.
    """

    official_prefix: ClassVar[str] = ""

    def convert_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of a checkpoint for this module: see `to_linbench_keys`."""
        return to_linbench_keys(self, state_dict)


def to_linbench_keys(module: OfficialNames, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint for one of LinBench's SAM modules.

    A part (prompt encoder, mask decoder, neck) takes its share of a whole model's checkpoint, or a checkpoint of its
    own. A decoder that keeps one mask token leaves the hypernetworks of the other three out. Keys that are not known
    stay as they are, so that loading can name them.

    Args:
        module: A `System`, or a prompt encoder, mask decoder or neck.
        state_dict: Tensors by official name, wrapper prefixes such as `module.` taken off.

    Returns:
        Tensors by the module's own names.
    """
    state = {_system_key(key): value for key, value in from_transformers(state_dict).items()}
    prefix = module.official_prefix
    if prefix:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        state = part or state
    own = module.state_dict()
    return {key: value for key, value in state.items() if key in own or not _MULTIMASK_HYPERNETWORK.search(key)}


def _system_key(key: str) -> str:
    for pattern, replacement in _TO_SYSTEM:
        key = pattern.sub(replacement, key)
    return key
