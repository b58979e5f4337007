"""The predictor: the original's geometry, one encoding for many prompts, shapes, and what a user may get wrong."""

import linbench
import numpy as np
import pytest
import torch
from linbench import Predictor
from linbench.backbones.base import Backbone, FeatureInfo, Features
from linbench.errors import UsageError
from linbench.heads.sam import Embedding, build_sam_system, predictor, to_linbench_keys
from torch import nn

BOXES = np.array([[3.0, 5, 60, 50], [20, 10, 50, 40], [0, 0, 89, 59]])
POINTS, LABELS = [[10.5, 20.25], [70, 30]], [1, 0]


class Patches(Backbone):
    """One convolution, which counts its calls."""

    def __init__(self):
        super().__init__()
        self.feature_info = (FeatureInfo(32, 16),)
        self.conv = nn.Conv2d(3, 32, kernel_size=16, stride=16)
        self.calls = []

    def forward(self, images):
        self.calls.append(images)
        found = self.conv(images)
        return Features((found,), found.mean(dim=(2, 3)))


def build(**options):
    torch.manual_seed(0)
    return build_sam_system(Patches(), **options)


@pytest.fixture(scope="module")
def image():
    return np.random.RandomState(0).randint(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture
def ready(image):
    return Predictor(build(single_mask=False), frame=128).set_image(image)


@pytest.mark.parametrize("case_id", "ABC")
def test_preprocessing_is_the_original_one(golden, close, monkeypatch, case_id):
    entry, stored = golden("sam_preprocess").case(case_id)
    inputs, exact = entry["inputs"], entry["json_outputs"]
    pixels = np.random.RandomState(inputs["seed"]).randint(0, 256, size=inputs["shape"], dtype=np.uint8)
    used = Predictor(build()).set_image(pixels)
    (encoded,) = used.system.backbone.calls
    close(encoded, stored["preprocessed"], entry["outputs"]["preprocessed"])
    seen = []
    monkeypatch.setattr(used.system, "decode", lambda _, **prompts: seen.append(prompts) or _raise())
    for prompts in ({"box": inputs["boxes"]}, {"points": inputs["points"], "labels": np.ones((2, 2))}):
        with pytest.raises(ZeroDivisionError):
            used.predict(**prompts)
    torch.testing.assert_close(seen[0]["boxes"], torch.tensor(exact["apply_boxes_torch_float32"]))
    torch.testing.assert_close(seen[1]["points"], torch.tensor(exact["apply_coords"]))


def _raise():
    raise ZeroDivisionError


@pytest.mark.parametrize("case_id", "ABCDEF")
def test_prompts_and_postprocessing_are_the_original_ones(golden, close, normal, monkeypatch, case_id):
    entry, stored = golden("sam_prompt_decoder").case(case_id)
    inputs, outputs = entry["inputs"], entry["outputs"]
    system, state = build(single_mask=False), golden("sam_prompt_decoder").state_dict()
    for part in (system.prompt_encoder, system.mask_decoder):
        part.load_state_dict(to_linbench_keys(part, state))
    embedded = Embedding(normal(inputs["image_embeddings"]["seed"], inputs["image_embeddings"]["shape"]))
    monkeypatch.setattr(system, "encode", lambda _: embedded)
    height, width = inputs["original_size"]
    used = Predictor(system).set_image(np.zeros((height, width, 3), np.uint8))
    assert used.framing.resized == tuple(inputs["input_size"])
    ratios = np.array([used.framing.resized[axis] / used.framing.original[axis] for axis in (1, 0)])
    prompts = {}
    if "boxes" in inputs:
        prompts["box"] = np.array(inputs["boxes"]) / np.tile(ratios, 2)
    if "point_coords" in inputs:
        prompts |= {"points": np.array(inputs["point_coords"]) / ratios, "labels": inputs["point_labels"]}
    if given := inputs.get("mask_input"):
        prompts["mask_input"] = normal(given["seed"], given["shape"]) * given.get("scale", 1.0)
    for name, multimask in (("multimask", True), ("single", False)):
        masks, scores, logits = used.predict(**prompts, multimask=multimask)
        close(torch.from_numpy(logits), stored[f"low_res_masks_{name}"], outputs[f"low_res_masks_{name}"])
        close(torch.from_numpy(scores), stored[f"iou_predictions_{name}"], outputs[f"iou_predictions_{name}"])
        restored, spec = used.restore(torch.from_numpy(logits)), outputs[f"postprocessed_{name}"]
        close(restored, stored[f"postprocessed_{name}"], spec)
        sure = np.abs(stored[f"postprocessed_{name}"]) > 1e-3
        assert masks.dtype == bool
        assert list(masks.shape) == spec["shape"]
        taken = masks.reshape(-1)[:: spec["stride"]]
        assert np.array_equal(taken[sure], stored[f"postprocessed_{name}"][sure] > 0)


def test_one_encoding_serves_every_prompt(ready):
    together = ready.predict(box=BOXES)
    assert together.masks.shape == (3, 1, 60, 90)
    assert together.scores.shape == (3, 1)
    assert together.logits.shape == (3, 1, 32, 32)
    for number, box in enumerate(BOXES):
        masks, scores, logits = ready.predict(box=box)
        assert masks.shape == (1, 60, 90)
        np.testing.assert_allclose(logits, together.logits[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scores, together.scores[number], rtol=1e-4, atol=1e-5)
    ready.predict(points=POINTS, labels=LABELS)
    assert len(ready.system.backbone.calls) == 1
    assert {"encode", "decode", "restore"} <= set(ready.seconds)


def test_it_is_what_the_system_says(ready):
    system, framing = ready.system, ready.framing
    with torch.inference_mode():
        embedding = system.encode(system.backbone.calls[0])
        boxes = framing.boxes_to_frame(torch.tensor(BOXES, dtype=torch.float32))
        logits, quality = system.decode(embedding, boxes=boxes, multimask=True)
    got = ready.predict(box=BOXES, multimask=True)
    np.testing.assert_array_equal(got.logits, logits.numpy())
    np.testing.assert_array_equal(got.scores, quality.numpy())
    np.testing.assert_array_equal(got.masks, framing.to_original(logits).numpy() > 0)


def test_pieces_make_no_difference(ready, monkeypatch):
    whole = ready.predict(box=BOXES, multimask=True)
    monkeypatch.setattr(predictor, "_PROMPTS_AT_ONCE", 2)
    monkeypatch.setattr(predictor, "_PIXELS_AT_ONCE", 2 * 128 * 128)
    pieces = ready.predict(box=BOXES, multimask=True)
    np.testing.assert_array_equal(pieces.masks, whole.masks)
    np.testing.assert_allclose(pieces.logits, whole.logits, rtol=1e-4, atol=1e-5)


def test_no_prompts_give_no_masks(ready):
    for choice in ("single", "best"):
        none = ready.predict(box=np.zeros((0, 4)), choice=choice)
        assert [array.shape for array in none] == [(0, 1, 60, 90), (0, 1), (0, 1, 32, 32)]


def test_an_earlier_mask_refines(ready):
    first = ready.predict(box=BOXES[0])
    again = ready.predict(box=BOXES[0], mask_input=first.logits)
    assert np.abs(again.logits - first.logits).max() > 1e-3
    for form in (first.logits[0], torch.from_numpy(first.logits)):
        np.testing.assert_array_equal(ready.predict(box=BOXES[0], mask_input=form).logits, again.logits)
    many = ready.predict(box=BOXES)
    refined = ready.predict(box=BOXES, mask_input=many.logits)
    np.testing.assert_allclose(refined.logits[0], again.logits, rtol=1e-3, atol=1e-4)


def test_best_is_the_mask_of_the_highest_score(ready):
    three = ready.predict(box=BOXES, multimask=True)
    best = ready.predict(box=BOXES, choice="best")
    assert best.masks.shape == (3, 1, 60, 90)
    for number, place in enumerate(three.scores.argmax(1)):
        np.testing.assert_array_equal(best.masks[number, 0], three.masks[number, place])
        assert best.scores[number, 0] == three.scores[number].max()


def test_another_image_takes_the_place_of_the_first(ready, image):
    first = ready.predict(box=BOXES[0])
    turned = ready.set_image(image[:, ::-1]).predict(box=BOXES[0])
    assert not np.array_equal(turned.logits, first.logits)
    np.testing.assert_array_equal(ready.set_image(image).predict(box=BOXES[0]).logits, first.logits)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (333, 2), (64, 64)])
def test_every_size(ready, size):
    whole = [0, 0, size[1], size[0]]
    assert ready.set_image(np.zeros((*size, 3), np.uint8)).predict(box=whole).masks.shape == (1, *size)


def test_reduced_precision_is_close(ready, image):
    exact = ready.predict(box=BOXES)
    half = Predictor(build(single_mask=False), frame=128, dtype=torch.bfloat16).set_image(image).predict(box=BOXES)
    assert half.logits.dtype == np.float32
    assert np.abs(half.logits - exact.logits).max() < 0.1 * np.abs(exact.logits).max()


def test_the_system_is_evaluated():
    system = build()
    assert system.training
    assert not Predictor(system).system.training


def test_nothing_is_prompted_without_an_image(ready):
    ready.reset()
    with pytest.raises(UsageError, match="set_image"):
        ready.predict(box=BOXES[0])
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(UsageError, match="expected RGB uint8"):
            ready.set_image(wrong)
    with pytest.raises(UsageError, match="set_image"):
        ready.predict(box=BOXES[0])


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({}, "no prompt"),
        ({"box": [1, 2, 3]}, r"box \[3\]"),
        ({"box": [[[1, 2, 3, 4]]]}, "do not fit together"),
        ({"box": [1, 2, np.nan, 4]}, "not finite"),
        ({"box": ["a", 2, 3, 4]}, "cannot be read as numbers"),
        ({"box": [30, 2, 3, 40]}, "x0 <= x1"),
        ({"points": [[1, 2], [3]], "labels": [1, 1]}, "points cannot be read"),
        ({"points": [[1, 2]]}, "belong together"),
        ({"points": [[1, 2]], "labels": [5]}, "labels must be"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "labels has shape"),
        ({"box": BOXES, "points": POINTS, "labels": LABELS}, "do not fit together"),
        ({"box": BOXES, "points": [POINTS], "labels": [LABELS]}, "differ in number"),
        ({"box": BOXES[0], "mask_input": np.zeros((8, 8))}, r"expected \[N, 1, 32, 32\]"),
        ({"box": BOXES[0], "choice": "first"}, "expected single or best"),
        ({"box": BOXES[0], "choice": "best", "multimask": True}, "one of them"),
    ],
)
def test_wrong_prompts(ready, prompts, said):
    with pytest.raises(UsageError, match=said):
        ready.predict(**prompts)


def test_several_masks_of_a_decoder_that_makes_one(image):
    one = Predictor(build(single_mask=True), frame=64).set_image(image)
    for options in ({"multimask": True}, {"choice": "best"}):
        with pytest.raises(UsageError, match="one mask token"):
            one.predict(box=BOXES[0], **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame": 100}, "multiple of 16"),
        ({"device": "tpu9"}, "expected cpu, cuda"),
        ({"device": "cuda:99"}, "bench doctor"),
        ({"dtype": torch.int8}, "float32"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(UsageError, match=said):
        Predictor(build(), **options)


def test_the_module_is_a_public_name():
    assert linbench.predictor is predictor
    assert linbench.Predictor is predictor.Predictor
