"""The suite `ablation-distill`: masks with and without the distillation of the encoder (Table 7)."""

from __future__ import annotations

from ...errors import UsageError
from ..sam_hq import SUITE as SAM_HQ
from .compose import Composite, Part
from .options import MaskAblationOptions


class DistillAblation(Composite[MaskAblationOptions]):
    """One system trained twice, with stage 1 and without.

    Both start with the teacher's decoder over an encoder of random weights, and train jointly by the same recipe. Stage
    1 is that of `sam-hq`: the teacher's embedding, and its projected fine maps where both refine with such.
    """

    name = "ablation-distill"
    summary = "training with and without distillation of the encoder, mIoU by one recipe (Table 7)"

    def parts(self, options: MaskAblationOptions) -> list[Part]:
        """The two trainings, the one with distillation first.

        Raises:
            UsageError: The recipe has no distillation.
        """
        if not options.recipe.distill.steps:
            raise UsageError(
                f"recipe {options.recipe.name} has no distillation to leave out; use --set distill.steps=40, say"
            )
        starts = ("distilled", "fresh")
        return [Part(SAM_HQ, options.sam_hq(encoder=encoder)) for encoder in starts]


SUITE = DistillAblation()
