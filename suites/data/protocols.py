"""The two published ways to evaluate box-prompted masks on DIS5K, COIFT, HRSOD and ThinObject5K.

They differ in image geometry, in where the box comes from and in how logits are enlarged; their numbers are not
interchangeable. `rwkvsam` follows the RWKV-SAM repository (mmdet's style), `hqsam` follows HQ-SAM's `train.py --eval`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UsageError
from ...heads.sam.preprocess import Framing, frame_image, normalize
from .augment import boxes_of
from .masks import OFFICIAL_THRESHOLD, Bools

Labels = npt.NDArray[Any]


class Sample(NamedTuple):
    """One image, ready for the network.

    Attributes:
        image: Normalised, `[3, frame, frame]` float32.
        boxes: `[n, 4]` float32, x0 y0 x1 y1 in frame pixels, the last pixel inclusive.
        truth: `[n, H, W]` at the original resolution.
        has_box: `[n]`; False where the truth, or its resized label, is empty. The box is then all zeros and there is
            nothing to prompt with: take the empty mask as the prediction.
        geometry: Where the image lies in the frame.
    """

    image: Tensor
    boxes: Tensor
    truth: Bools
    has_box: Bools
    geometry: Framing


class Protocol(ABC):
    """One named way from an image to the frame and from logits back.

    Attributes:
        name: As it is stored in rows.
        hq_token_only: Whether HQ-SAM's decoder answers with the HQ token's mask alone, not with its sum with SAM's.
    """

    name: str
    hq_token_only: bool = False

    @abstractmethod
    def prepare(
        self, image: npt.NDArray[np.uint8], labels: Labels, *, frame: int = 1024, threshold: int = OFFICIAL_THRESHOLD
    ) -> Sample:
        """Bring an image and its labels into the frame.

        Args:
            image: RGB, `[H, W, 3]`.
            labels: Grey `[n, H, W]` uint8, or binary masks of dtype bool.
            frame: Side of the square frame in pixels; the published value is 1024.
            threshold: Labels above it are foreground; the published value is 128.

        Raises:
            UsageError: Sizes or dtypes that do not fit together.
        """

    def restore(self, logits: Tensor, geometry: Framing) -> Bools:
        """Masks `[n, H, W]` at the original size from logits `[n, 1, h, w]` that cover the frame (logit above 0)."""
        return np.asarray((geometry.to_original(logits)[:, 0] > 0).cpu().numpy())


class RwkvSam(Protocol):
    """Aspect kept, OpenCV bilinear, padded; box of the original mask; logits to the frame, cropped, to the original."""

    name = "rwkvsam"

    def prepare(
        self, image: npt.NDArray[np.uint8], labels: Labels, *, frame: int = 1024, threshold: int = OFFICIAL_THRESHOLD
    ) -> Sample:
        grey = _grey(image, labels)
        truth = grey > threshold
        pixels, geometry = frame_image(image, size=frame, resampling="cv2")
        boxes = geometry.boxes_to_frame(torch.from_numpy(boxes_of(truth.view(np.uint8))))
        return Sample(pixels, boxes, truth, _non_empty(truth), geometry)


class HqSam(Protocol):
    """Stretched to the frame, plain bilinear, truncated to bytes; box of the stretched label; logits resized once."""

    name = "hqsam"
    hq_token_only = True

    def prepare(
        self, image: npt.NDArray[np.uint8], labels: Labels, *, frame: int = 1024, threshold: int = OFFICIAL_THRESHOLD
    ) -> Sample:
        grey = _grey(image, labels)
        stretched = _stretch(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None], frame)[0]
        pixels = normalize(stretched.to(torch.uint8).permute(1, 2, 0).numpy())
        in_frame = (_stretch(torch.from_numpy(grey)[:, None], frame)[:, 0] > threshold).numpy()
        boxes = torch.from_numpy(boxes_of(in_frame.view(np.uint8)))
        original, square = (image.shape[0], image.shape[1]), (frame, frame)
        geometry = Framing(original, resized=square, frame=square, geometry="stretch", enlarging="bilinear")
        return Sample(pixels, boxes, grey > threshold, _non_empty(in_frame), geometry)


PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (RwkvSam(), HqSam())}


def get_protocol(name: str = "rwkvsam") -> Protocol:
    """The protocol of a name.

    Raises:
        UsageError: Unknown name.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}; expected {' or '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _grey(image: npt.NDArray[np.uint8], labels: Labels) -> npt.NDArray[np.uint8]:
    if labels.ndim != 3 or labels.shape[1:] != image.shape[:2] or labels.dtype not in (np.bool_, np.uint8):
        raise UsageError(
            f"labels are {labels.dtype} {list(labels.shape)} for an image {list(image.shape)}; "
            "expected bool or uint8 [n, H, W] of the image's size"
        )
    return labels.view(np.uint8) * np.uint8(255) if labels.dtype == np.bool_ else labels


def _non_empty(masks: Bools) -> Bools:
    return np.asarray(masks.any((1, 2)))


def _stretch(pixels: Tensor, frame: int) -> Tensor:
    return F.interpolate(pixels.float(), size=(frame, frame), mode="bilinear", align_corners=False)
