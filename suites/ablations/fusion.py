"""The suite `ablation-fusion`: how the decoder fuses the backbone's fine maps (Table 6, left)."""

from __future__ import annotations

from ...backbones import backbone_spec
from ...errors import UsageError
from ...heads.sam.build import REFINE_STRIDES
from ...heads.sam.refine import REFINE_MODULES
from ...heads.sam.systems import system_spec
from ...heads.sam.weights import DEMO, DEMO_SYSTEM
from ..latency import SUITE as LATENCY
from ..sam_hq import SUITE as SAM_HQ
from ..sam_hq.suite import system_name
from .compose import Composite, Part
from .options import MaskAblationOptions

VARIANTS = tuple(REFINE_MODULES)


class FusionAblation(Composite[MaskAblationOptions]):
    """Every refine module under one backbone: frames per second of the whole model, and mIoU by one recipe.

    All start with the teacher's decoder but for the refine module, which is new, and with its encoder: copied where the
    teacher has the same backbone, as only the decoder is in question; else distilled.
    """

    name = "ablation-fusion"
    summary = "refine modules of the decoder: FPS of the whole model, mIoU by one recipe (Table 6, left)"

    def parts(self, options: MaskAblationOptions) -> list[Part]:
        """Latencies of all variants, which take turns; then a training of each.

        Raises:
            UsageError: The backbone has no fine maps to fuse.
        """
        strides = backbone_spec(options.backbone).strides
        if not set(REFINE_STRIDES) <= set(strides) and not options.backbone.startswith("timm:"):
            raise UsageError(
                f"'{options.backbone}' has no maps of strides 4 and 8 that a decoder could fuse; choose rwkvsam-*, "
                "vmamba-* or efficientvmamba-*"
            )
        speed = options.speed.latency_options(
            device=options.device,
            threads=options.threads,
            kernels=options.kernels,
            systems=(system_name(options.backbone),),
            stages=("e2e",),
            prompts=(1,),
            refine=VARIANTS,
        )
        teacher = DEMO_SYSTEM if options.teacher == DEMO else options.teacher_system
        encoder = "copied" if system_spec(teacher).backbone == options.backbone else "distilled"
        trainings = [options.sam_hq(refine=refine, encoder=encoder, share_refine=False) for refine in VARIANTS]
        return [Part(LATENCY, speed), *(Part(SAM_HQ, training) for training in trainings)]


SUITE = FusionAblation()
