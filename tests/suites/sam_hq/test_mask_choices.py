"""Which of a decoder's masks an evaluation scores."""

import numpy as np
import pytest
import torch
from linbench import create_system
from linbench.errors import UsageError
from linbench.suites.data.protocols import get_protocol
from linbench.suites.metrics import mask_iou
from linbench.suites.sam_hq import SUITE, SamHqOptions
from linbench.suites.sam_hq.network import Network
from linbench.suites.sam_hq.scoring import make_network

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = (60, 90)


@pytest.fixture(scope="module")
def light():
    torch.manual_seed(0)
    return create_system("light-hq-sam").eval()


@pytest.fixture
def sample():
    labels = np.zeros((2, *SIDES), bool)
    labels[0, 10:40, 20:70] = True
    labels[1, 30:55, 5:30] = True
    image = np.random.default_rng(0).integers(0, 256, (*SIDES, 3), np.uint8)
    return get_protocol().prepare(image, labels, frame=64)


def answers(system, sample, protocol="rwkvsam", **options):
    network = Network(system, get_protocol(protocol), device="cpu", **options)
    ((_, masks),) = network.predict([sample], lambda item: item, keep=list)
    return np.stack(masks)


def decoded(system, sample, *, multimask=False):
    with torch.inference_mode():
        logits, quality = system.decode(system.encode(sample.image[None]), boxes=sample.boxes, multimask=multimask)
        return sample.geometry.to_original(logits).numpy(), quality.numpy()


def test_hq_sam_is_scored_by_its_hq_token_alone_where_its_own_evaluation_does_so(light, sample):
    together = decoded(light, sample)[0][:, 0] > 0
    light.mask_decoder.hq_token_only = True
    alone = decoded(light, sample)[0][:, 0] > 0
    light.mask_decoder.hq_token_only = False
    assert (together != alone).mean() > 0.01
    assert np.array_equal(answers(light, sample, "rwkvsam"), together)
    assert np.array_equal(answers(light, sample, "hqsam"), alone)
    assert not light.mask_decoder.hq_token_only
    coco = make_network(light, SamHqOptions(systems=("light-hq-sam",), protocol="hqsam"), "rwkvsam")
    assert not coco.protocol.hq_token_only


def test_single_best_and_oracle(light, sample):
    full, quality = decoded(light, sample, multimask=True)
    best = full[np.arange(2), quality.argmax(1)] > 0
    ious = np.array([[mask_iou(mask > 0, truth) for mask in of] for of, truth in zip(full, sample.truth, strict=True)])
    oracle = full[np.arange(2), ious.argmax(1)] > 0
    assert np.array_equal(answers(light, sample, choice="best"), best)
    assert np.array_equal(answers(light, sample, choice="oracle"), oracle)
    assert not np.array_equal(answers(light, sample), best)


def test_published_systems_are_evaluated_at_their_own_frame():
    def frame(*backbones, **options):
        return SamHqOptions(backbones, **options).eval_frame

    assert frame(systems=("hq-sam-l",), weights="official") == frame(systems=("mobilesam",), weights="a.pt") == 1024
    assert frame("rwkvsam-t", weights="demo") == frame(systems=("vit-t+sam",), weights="a.pt") == 384
    assert frame(systems=("mobilesam",)) == 384, "trained here by the demo recipe"
    assert frame(systems=("mobilesam",), weights="a.pt", frame=512) == 512


def test_rows_name_the_choice_and_what_it_cannot_apply_to(tmp_path):
    options = {"weights": "demo", "cache": tmp_path, "masks": (("A", tmp_path),)}
    with pytest.raises(UsageError, match="'rwkvsam-t' has one mask token; leave --choice best out"):
        SUITE.plan(SamHqOptions(("rwkvsam-t",), choice="best", **options))
    with pytest.raises(UsageError, match="unknown mask choice 'worst'"):
        SamHqOptions(("rwkvsam-t",), choice="worst", **options)
    with pytest.raises(UsageError, match="--choice oracle chooses by the true mask"):
        SamHqOptions(systems=("sam-vit-b",), choice="oracle")
