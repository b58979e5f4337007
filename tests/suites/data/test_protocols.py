import json
from pathlib import Path

import numpy as np
import pytest
import torch
from linbench.errors import UsageError
from linbench.suites.data.protocols import PROTOCOLS, get_protocol
from linbench.suites.metrics import boundary_iou, mask_iou

GOLDEN = Path(__file__).parents[3].parent / "shared" / "goldens" / "hqsam_eval"
ITEMS = json.loads((GOLDEN / "manifest.json").read_text())["items"] if GOLDEN.is_dir() else []


@pytest.mark.parametrize("item", ITEMS or [pytest.param(None, marks=pytest.mark.skip(reason="goldens are not here"))])
def test_hqsam_matches_the_original_evaluation(item):
    data = np.load(GOLDEN / "data.npz")
    label = data[f"l{item['id']}"]
    logits = torch.from_numpy(data[f"q{item['id']}"].astype(np.float32)) * item["scale"] + item["offset"]
    protocol = get_protocol("hqsam")
    image = np.zeros((*label.shape, 3), np.uint8)
    sample = protocol.prepare(image, label[None])
    mask = protocol.restore(logits[None, None], sample.geometry)[0]
    scores = mask_iou(mask, sample.truth[0]), boundary_iou(mask, sample.truth[0])
    if item["iou"] == "nan":
        assert scores == (1.0, 1.0)
        assert not sample.has_box[0]
    else:
        assert scores == pytest.approx((item["iou"], item["biou"]), abs=1e-6)
        assert sample.boxes[0].tolist() == item["box_1024"]
        assert sample.has_box[0]


def rectangle(height, width, box):
    mask = np.zeros((1, height, width), bool)
    x0, y0, x1, y1 = box
    mask[0, y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(("height", "width"), [(300, 451), (640, 256), (200, 200), (37, 53)])
def test_a_mask_survives_the_way_to_the_frame_and_back(name, height, width):
    protocol, frame = get_protocol(name), 256
    box = (width // 5, height // 4, width // 2, height * 3 // 4)
    truth = rectangle(height, width, box)
    image = np.where(truth[0, ..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    sample = protocol.prepare(image, truth, frame=frame)
    assert sample.image.shape == (3, frame, frame)
    assert sample.image.dtype == torch.float32
    assert np.array_equal(sample.truth, truth)
    restored = protocol.restore(sample.image[None, :1], sample.geometry)
    assert restored.shape == truth.shape
    assert mask_iou(restored[0], truth[0]) > 0.95
    x0, y0, x1, y1 = sample.boxes[0].round().int().tolist()
    inside = sample.image[0, y0 + 1 : y1, x0 + 1 : x1]
    assert (inside > 0).all()


def test_rwkvsam_scales_the_box_of_the_original_mask():
    sample = get_protocol().prepare(
        np.zeros((300, 451, 3), np.uint8), rectangle(300, 451, (10, 20, 400, 299)), frame=1024
    )
    assert sample.boxes[0].tolist() == pytest.approx(
        [10 * 1024 / 451, 20 * 681 / 300, 400 * 1024 / 451, 299 * 681 / 300]
    )
    assert not sample.image[:, 681:].any()


def test_hqsam_stretches_and_truncates():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    sample = get_protocol("hqsam").prepare(image, np.ones((1, 1, 2), bool), frame=4)
    assert (sample.image[0, 0] * 58.395 + 123.675).tolist() == pytest.approx([0, 63, 191, 255], abs=1e-3)


def test_labels_are_cut_above_the_threshold():
    label = np.array([[[127, 128, 129]]], np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    for protocol in PROTOCOLS.values():
        assert protocol.prepare(image, label, frame=32).truth.tolist() == [[[False, False, True]]]
        assert protocol.prepare(image, label, frame=32, threshold=127).truth.tolist() == [[[False, True, True]]]


def test_misfits_are_refused():
    image = np.zeros((4, 5, 3), np.uint8)
    for protocol in PROTOCOLS.values():
        for labels in (np.zeros((1, 5, 4), bool), np.zeros((4, 5), bool), np.zeros((1, 4, 5), np.float32)):
            with pytest.raises(UsageError, match="expected bool or uint8"):
                protocol.prepare(image, labels)
    with pytest.raises(UsageError, match="rwkvsam or hqsam"):
        get_protocol("sam")
