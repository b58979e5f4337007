"""Framing of images and the way back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import UsageError
from linbench.heads.sam.preprocess import frame_image, resize

SIDES = st.integers(1, 90)


@settings(max_examples=40, deadline=None)
@given(height=SIDES, width=SIDES, size=st.sampled_from([32, 48]))
def test_frame_keeps_the_image_and_pads_with_zeros(height, width, size):
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    pixels, framing = frame_image(image, size=size)
    assert pixels.shape == (3, size, size)
    assert max(framing.resized) == size
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[: framing.resized[0], : framing.resized[1]] = True
    assert bool((pixels[:, inside] > 2).all())
    assert bool((pixels[:, ~inside] == 0).all())


def test_mask_comes_back_where_it_was():
    _, framing = frame_image(np.zeros((60, 100, 3), dtype=np.uint8), size=64)
    box = framing.boxes_to_frame(torch.tensor([[20.0, 10, 80, 50]]))
    logits = torch.full((1, 1, 64, 64), -1.0)
    x0, y0, x1, y1 = box[0].round().int().tolist()
    logits[..., y0:y1, x0:x1] = 1.0
    mask = framing.to_original(logits)[0, 0] > 0
    wanted = torch.zeros(60, 100, dtype=torch.bool)
    wanted[10:50, 20:80] = True
    assert mask.shape == wanted.shape
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.93


def test_resamplings_differ_only_in_filtering():
    image = np.random.RandomState(0).randint(0, 256, (64, 64, 3), dtype=np.uint8)
    up = [resize(image, 128, 128, resampling=name).astype(int) for name in ("pil", "cv2")]
    assert np.abs(up[0] - up[1]).max() <= 2
    down = [resize(image, 16, 16, resampling=name).std() for name in ("pil", "cv2")]
    assert down[0] < down[1]


def test_bad_images():
    with pytest.raises(UsageError, match="expected RGB uint8"):
        frame_image(np.zeros((4, 4, 3), dtype=np.float32))
    with pytest.raises(UsageError, match="expected RGB uint8"):
        frame_image(np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(UsageError, match="unknown resampling"):
        resize(np.zeros((4, 4, 3), dtype=np.uint8), 2, 2, resampling="nearest")
