import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from linbench.suites.metrics import boundary_band, boundary_iou, boundary_width, mask_iou

GOLDEN = Path(__file__).parents[3].parent / "shared" / "goldens" / "boundary_iou"
PAIRS = json.loads((GOLDEN / "manifest.json").read_text())["pairs"] if GOLDEN.is_dir() else []


@pytest.mark.parametrize("pair", PAIRS or [pytest.param(None, marks=pytest.mark.skip(reason="goldens are not here"))])
def test_golden_pairs(pair):
    height, width = pair["h"], pair["w"]
    packed = np.load(GOLDEN / "masks.npz")
    truth, pred = (
        np.unpackbits(packed[f"{which}{pair['id']}"])[: height * width].reshape(height, width) for which in "gd"
    )
    assert boundary_width(height, width) == pair["dilation"]
    assert boundary_band(truth).sum() == pair["gt_boundary_px"]
    assert boundary_band(pred).sum() == pair["dt_boundary_px"]
    if pair["samhq_mask_iou"] == "nan":
        assert mask_iou(pred, truth) == boundary_iou(pred, truth) == 1.0
    else:
        assert mask_iou(pred, truth) == pytest.approx(pair["mask_iou_api"], abs=1e-12)
        assert boundary_iou(pred, truth) == pytest.approx(pair["boundary_iou_api"], abs=1e-12)


def naive_band(mask, width):
    """A pixel is in the band when a background pixel, or the outside, lies within `width` (chessboard distance)."""
    padded = np.pad(mask, width)
    shifts = range(2 * width + 1)
    height, columns = mask.shape
    inside = np.ones_like(mask)
    for dy in shifts:
        for dx in shifts:
            inside &= padded[dy : dy + height, dx : dx + columns]
    return mask & ~inside


def naive_iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 1.0


MASKS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.sampled_from([0.001, 0.02, 0.07, 0.15]))
def test_metrics_equal_the_naive_definition(masks, ratio):
    one, other = masks
    width = max(1, round(ratio * math.hypot(*one.shape)))
    assert mask_iou(one, other) == naive_iou(one, other)
    assert boundary_iou(one, other, dilation_ratio=ratio) == naive_iou(naive_band(one, width), naive_band(other, width))
    assert boundary_iou(one, other) == boundary_iou(other, one)
    assert mask_iou(one, one) == boundary_iou(one, one) == 1.0


def test_empty_masks():
    empty, full = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    assert mask_iou(empty, empty) == boundary_iou(empty, empty) == 1.0
    assert mask_iou(empty, full) == boundary_iou(full, empty) == 0.0


def test_values_and_dtypes_do_not_matter():
    mask = np.zeros((20, 30), bool)
    mask[3:12, 4:25] = True
    other = np.roll(mask, 2, 1)
    for cast in (mask.astype(np.uint8) * 255, mask.astype(np.float32), mask.astype(np.int64)):
        assert mask_iou(cast, other) == mask_iou(mask, other)
        assert boundary_iou(cast, other) == boundary_iou(mask, other)


def test_width_rounds_half_to_even():
    assert boundary_width(30, 40, 0.05) == 2
    assert boundary_width(30, 40, 0.07) == 4
    assert boundary_width(3, 4) == 1


def test_misfits_are_refused():
    with pytest.raises(ValueError, match="one size"):
        mask_iou(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="one size"):
        boundary_iou(np.zeros((1, 3, 4)), np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match="positive"):
        boundary_iou(np.zeros((3, 4)), np.zeros((3, 4)), dilation_ratio=0)
