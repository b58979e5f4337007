"""Interactive use of a system: one image is encoded once, then prompted in its own pixels as often as one likes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import UsageError
from .choice import choose_masks
from .preprocess import Framing
from .system import Embedding, System

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Coordinates = npt.ArrayLike | Tensor
Choice = Literal["single", "best"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_PIXELS_AT_ONCE = 2**26
_PROMPTS_AT_ONCE = 64


class Prediction(NamedTuple):
    """Masks of one prompt, or of N prompts: then every array has a first axis N.

    Attributes:
        masks: `[M, H, W]` or `[N, M, H, W]`, at the image's own size.
        scores: `[M]` or `[N, M]`, the mask IoU that the decoder expects of its masks.
        logits: `[M, h, w]` or `[N, M, h, w]`, at a quarter of the frame's resolution; `mask_input` takes one of them.
    """

    masks: Bools
    scores: Floats
    logits: Floats


class Predictor:
    """Encode an image once, prompt it many times, in pixels of the image itself.

        predictor = Predictor(create_system("rwkvsam-t", weights="demo")).set_image(rgb)
        masks, scores, logits = predictor.predict(box=[10, 20, 200, 300])

    Scores come from a head that RWKV-SAM's fine-tuning does not supervise (the loss holds it with weight 0). Of such a
    system do not rank, filter or report masks by them, and do not choose "best" by them.

    Args:
        system: The system; it is moved to `device` and put into evaluation mode.
        frame: Side in pixels of the square that images are brought into, in the system's own way; SAM's is 1024.
        device: Torch device; None: where the system is.
        dtype: Precision of the network: float32, or bfloat16 or float16 under autocast.

    Attributes:
        seconds: Time spent in `encode` (scaling included), `decode` and `restore` since it was last cleared.

    Raises:
        UsageError: A frame, device or dtype that cannot be meant.
    """

    def __init__(
        self,
        system: System,
        *,
        frame: int = 1024,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if frame < 16 or frame % 16:
            raise UsageError(f"frame is {frame}; expected a positive multiple of 16, for example 1024")
        if dtype not in _DTYPES:
            raise UsageError(f"dtype is {dtype}; expected torch.float32, torch.bfloat16 or torch.float16")
        self.device = next(system.parameters()).device if device is None else _checked_device(device)
        self.system = system.to(self.device).eval()
        self.frame = frame
        self.dtype = dtype
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._image: tuple[Embedding, Framing] | None = None

    def set_image(self, image: npt.NDArray[np.uint8]) -> Predictor:
        """Encode an image; later prompts refer to it.

        Args:
            image: `[H, W, 3]` RGB uint8.

        Returns:
            The predictor itself.

        Raises:
            UsageError: Not an RGB uint8 image, or the backbone does not take the frame. No image is set then.
        """
        self.reset()
        with self._timed("encode"):
            pixels, framing = self.system.preprocessing.frame(np.asarray(image), size=self.frame)
            with self._mode():
                self._image = self.system.encode(pixels[None].to(self.device)), framing
        return self

    def reset(self) -> None:
        """Forget the image and free its embedding."""
        self._image = None

    @property
    def framing(self) -> Framing:
        """Where the image lies in the frame.

        Raises:
            UsageError: No image is set.
        """
        return self._current()[1]

    def predict(
        self,
        *,
        box: Coordinates | None = None,
        points: Coordinates | None = None,
        labels: Coordinates | None = None,
        mask_input: Coordinates | None = None,
        multimask: bool = False,
        choice: Choice = "single",
    ) -> Prediction:
        """Predict the masks of one prompt or of N prompts.

        Kinds may be combined; they describe the same object then. Coordinates are pixels of the image, (x, y) with
        the origin at the top left, and may be fractional.

        Args:
            box: `[4]` or `[N, 4]` as (x0, y0, x1, y1).
            points: `[P, 2]` or `[N, P, 2]`.
            labels: `[P]` or `[N, P]`: 1 foreground, 0 background, -1 no point (padding).
            mask_input: Logits of an earlier prediction, to refine it: `[h, w]` or `[1, h, w]`, or `[N, 1, h, w]`.
            multimask: Return the three masks of SAM's ambiguity tokens instead of one.
            choice: Which single mask: `single`, that of the token made for it, or `best`, of the three the one with
                the highest predicted score.

        Raises:
            UsageError: No image is set, no prompt, shapes that do not fit together, coordinates that are not finite,
                a box with its corners swapped, or several masks from a decoder that has one mask token.
        """
        if choice not in ("single", "best"):
            raise UsageError(f"choice is '{choice}'; expected single or best")
        if choice == "best" and multimask:
            raise UsageError("choice='best' keeps one mask, multimask=True returns three; give one of them")
        self._current()
        prompts, batched = _batched(box=box, points=points, labels=labels, masks=mask_input)
        logits, scores = self.decode(**prompts, multimask=multimask or choice == "best")
        if choice == "best":
            logits, scores = choose_masks(logits, scores, choice="best")
        prediction = Prediction(self.masks(logits), scores.cpu().numpy(), logits.cpu().numpy())
        return prediction if batched else Prediction(*(array[0] for array in prediction))

    def decode(
        self,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """`System.decode` with coordinates of the image: float32 logits `[N, M, h, w]` and quality `[N, M]`.

        Prompts are decoded 64 at a time, so their number is limited only by what the logits need.

        Raises:
            UsageError: As for `System.decode`, or no image is set.
        """
        embedding, framing = self._current()
        prompts = {
            "boxes": None if boxes is None else framing.boxes_to_frame(boxes),
            "points": None if points is None else framing.to_frame(points),
            "labels": labels,
            "masks": masks,
        }
        given = {name: value.to(self.device) for name, value in prompts.items() if value is not None}
        count = max((len(value) for value in given.values()), default=0)
        with self._timed("decode"), self._mode():
            parts = [
                self.system.decode(
                    embedding,
                    **{name: value[start : start + _PROMPTS_AT_ONCE] for name, value in given.items()},
                    multimask=multimask,
                )
                for start in range(0, max(count, 1), _PROMPTS_AT_ONCE)
            ]
        logits, quality = (torch.cat(column).float() for column in zip(*parts, strict=True))
        return logits, quality

    def restore(self, logits: Tensor) -> Tensor:
        """Logits `[N, M, h, w]` to `[N, M, H, W]` at the image's own size.

        Raises:
            UsageError: No image is set.
        """
        framing = self.framing
        with self._timed("restore"), torch.inference_mode():
            return framing.to_original(logits)

    def masks(self, logits: Tensor) -> Bools:
        """Masks `[N, M, H, W]` at the image's own size: where the restored logits `[N, M, h, w]` exceed 0.

        Raises:
            UsageError: No image is set.
        """
        height, width = self.framing.original
        masks = np.empty((*logits.shape[:2], height, width), dtype=bool)
        flat = masks.reshape(-1, height, width)
        for at, restored in self.restored(logits.flatten(0, 1)):
            flat[at] = (restored > 0).cpu().numpy()
        return masks

    def restored(self, logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Restore logits `[K, h, w]` piece by piece: places and logits `[k, H, W]`, no more than memory bears."""
        height, width = self.framing.original
        # The logits are enlarged by way of the frame, so that bounds a piece too.
        step = max(1, _PIXELS_AT_ONCE // max(height * width, self.frame**2))
        for start in range(0, len(logits), step):
            at = slice(start, start + step)
            yield at, self.restore(logits[at, None])[:, 0]

    def _current(self) -> tuple[Embedding, Framing]:
        if self._image is None:
            raise UsageError("no image is set; call set_image(rgb) first")
        return self._image

    @contextmanager
    def _mode(self) -> Iterator[None]:
        reduced = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=self.dtype, enabled=reduced):
            yield

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] += time.perf_counter() - started


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device '{device}' is not known; expected cpu, cuda or cuda:<index>") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device '{device}' is not there; `bench doctor` says which are")
    return found


def _batched(**given: Any) -> tuple[dict[str, Tensor], bool]:
    """The prompts that are given, with their axis N; and whether they came with it."""
    single = {"box": 1, "points": 2, "labels": 1, "masks": 3}
    ends = {"box": (4,), "points": (2,)}
    prompts = {name: _tensor(name, value) for name, value in given.items() if value is not None}
    if "masks" in prompts and prompts["masks"].ndim == 2:
        prompts["masks"] = prompts["masks"][None]
    kinds = {name: value.ndim - single[name] for name, value in prompts.items()}
    fits = all(value.shape[-1:] == ends.get(name, value.shape[-1:]) for name, value in prompts.items())
    if not fits or not set(kinds.values()) <= {0, 1} or len(set(kinds.values())) > 1:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in prompts.items())
        raise UsageError(
            f"the prompts' shapes do not fit together ({shapes}); expected box [4], points [P, 2], labels [P], "
            "mask_input [1, h, w] of one prompt, or all of them with a first axis N"
        )
    batched = 1 in kinds.values()
    prompts = {name: value if batched else value[None] for name, value in prompts.items()}
    if "box" in prompts:
        prompts["boxes"] = _checked_boxes(prompts.pop("box"))
    return prompts, batched


def _tensor(name: str, value: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be read as numbers ({error})") from error
    if not bool(tensor.isfinite().all()):
        raise UsageError(f"{name} holds values that are not finite")
    return tensor


def _checked_boxes(boxes: Tensor) -> Tensor:
    swapped = (boxes[:, :2] > boxes[:, 2:]).any(-1)
    if bool(swapped.any()):
        raise UsageError(f"box {boxes[swapped][0].tolist()}: expected (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")
    return boxes
