"""Prompts read from options, outlines and overlays, label maps."""

import numpy as np
import pytest
from linbench.errors import DataError
from linbench.suites.predict.overlay import COLOURS, Overlay
from linbench.suites.predict.pictures import everything_pictures
from linbench.suites.predict.prompts import Prompt, parse_prompts


def test_prompts_of_options():
    assert parse_prompts(["1,2,3,4", " 5,6,7,8 "], []) == (Prompt((1, 2, 3, 4)), Prompt((5, 6, 7, 8)))
    assert parse_prompts([], ["1.5,2,1", "3,4,0"]) == (Prompt(None, ((1.5, 2), (3, 4)), (1, 0)),)
    with pytest.raises(DataError, match="outside"):
        Prompt((0, 0, 5, 5), ((11, 3),), (1,)).inside(10, 10)


@pytest.mark.parametrize("ground", [*COLOURS, (0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_outlines_are_seen_on_every_colour(ground):
    image = np.full((480, 640, 3), ground, np.uint8)
    mask = np.zeros((480, 640), bool)
    mask[100:300, 200:400] = True
    for colour in COLOURS:
        overlay = Overlay(image)
        overlay.draw_mask(mask, colour)
        overlay.draw_prompt(Prompt((150, 50, 500, 400), ((300, 200),), (1,)), colour)
        for place in ((slice(95, 105), 300), (200, slice(395, 405)), (slice(45, 55), 300), (200, slice(300, 320))):
            shown = overlay.canvas[place].reshape(-1, 3).astype(int)
            assert np.abs(shown[:, None] - shown[None]).max() > 100
            assert np.abs(shown - ground).max() > 80


@pytest.mark.parametrize(
    ("size", "drawn"), [((1, 1), (640, 640)), ((3000, 6000), (1024, 2048)), ((700, 900), (700, 900))]
)
def test_overlays_have_a_size_to_look_at(size, drawn):
    mask = np.ones(size, bool)
    overlay = Overlay(np.zeros((*size, 3), np.uint8))
    overlay.draw_mask(mask, COLOURS[0])
    overlay.draw_number(12, (0, 0), COLOURS[0])
    assert overlay.canvas.shape == (*drawn, 3)
    assert overlay.canvas.max() > 80


def test_a_thin_mask_is_seen_in_a_small_picture():
    mask = np.zeros((4000, 6000), bool)
    mask[1500:1501] = True
    overlay = Overlay(np.zeros((4000, 6000, 3), np.uint8))
    overlay.draw_mask(mask, COLOURS[0])
    assert (overlay.canvas.max(2) > 80).sum() > 1500


def test_more_than_255_masks_in_a_label_map():
    from linbench.heads.run_lengths import encode_mask

    masks = np.eye(400, dtype=bool).reshape(400, 20, 20)
    facts = [{"rle": encode_mask(mask), "area": 1} for mask in masks]
    facts.append({"rle": encode_mask(np.ones((20, 20), bool)), "area": 400})
    name, labels = next(everything_pictures(np.zeros((20, 20, 3), np.uint8), facts))
    assert (name, labels.dtype) == ("labels", np.uint16)
    np.testing.assert_array_equal(labels.reshape(-1), np.arange(1, 401))
