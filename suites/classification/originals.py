"""What the originals' ImageNet trainings do differently from size to size: stochastic depth."""

from __future__ import annotations

from collections.abc import Mapping

# RWKV-SAM's own rates are not published: it follows Vision-RWKV, so its sizes take Vision-RWKV's rates here.
DROP_PATH: Mapping[str, float] = {
    "rwkvsam-t": 0.0,
    "rwkvsam-s": 0.3,
    "rwkvsam-s-1-1": 0.3,
    "rwkvsam-s-2-2": 0.3,
    "rwkvsam-s-3-3": 0.3,
    "rwkvsam-b": 0.5,
    "vrwkv-t": 0.0,
    "vrwkv-s": 0.3,
    "vrwkv-b": 0.5,
    "vim-t": 0.1,
    "vim-s": 0.05,
    "vim-b": 0.1,
    "vmamba-t": 0.2,
    "vmamba-s": 0.3,
    "vmamba-b": 0.6,
    "vmamba-t-s1l8": 0.2,
    "vmamba-s-s1l20": 0.3,
    "vmamba-b-s1l20": 0.5,
    "vmamba-t-v0": 0.2,
    "vmamba-s-v0": 0.3,
    "vmamba-b-v0": 0.5,
    "efficientvmamba-t": 0.1,
    "efficientvmamba-s": 0.1,
    "efficientvmamba-b": 0.1,
    "vit-t": 0.1,
    "vit-s": 0.1,
    "vit-b": 0.1,
    "based-s": 0.1,
}
"""Published rate of the last block; a backbone that is not here is trained without."""
