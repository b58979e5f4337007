"""Scores do not depend on how the work is spread."""

import numpy as np
import pytest
import torch
from linbench import create_system
from linbench.suites.data.masks import open_folder
from linbench.suites.data.protocols import get_protocol
from linbench.suites.sam_hq.evaluate import evaluate
from linbench.suites.sam_hq.network import BoxFiller, Network

pytestmark = pytest.mark.usefixtures("one_thread")

PROTOCOL = get_protocol("rwkvsam")


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return create_system("rwkvsam-t", weights="demo").eval()


@pytest.fixture
def discs(draw_discs, tmp_path):
    return open_folder("DISCS", draw_discs(tmp_path / "discs", "images", "masks", 10))


def scores(system, discs, *, batch=1, **options):
    network = Network(system, PROTOCOL, device="cpu", batch=batch)
    return evaluate(network, discs, protocol=PROTOCOL, frame=64, **options)


def test_workers_change_no_score(system, discs):
    alone, spread = scores(system, discs), scores(system, discs, workers=4)
    assert (alone.names, alone.iou, alone.biou) == (spread.names, spread.iou, spread.biou)
    assert len(set(alone.iou)) > 1


@pytest.mark.parametrize("batch", [4, 16])
def test_batches_change_scores_by_rounding_only(system, discs, batch):
    alone, together = scores(system, discs), scores(system, discs, batch=batch)
    assert alone.names == together.names
    np.testing.assert_allclose(alone.iou, together.iou, atol=1e-3)
    np.testing.assert_allclose(alone.biou, together.biou, atol=1e-3)


def test_many_prompts_on_one_image_are_decoded_in_parts(system, discs):
    sample = PROTOCOL.prepare(discs.image(0), np.repeat(discs.labels(0), 35, axis=0), frame=64)
    network = Network(system, PROTOCOL, device="cpu")
    ((_, masks),) = network.predict([sample], lambda item: item)
    ((_, one),) = network.predict([PROTOCOL.prepare(discs.image(0), discs.labels(0), frame=64)], lambda item: item)
    assert masks.shape == (35, *sample.truth.shape[1:])
    assert (masks == one).mean() > 0.999


def test_the_baseline_fills_the_box(discs):
    found = evaluate(BoxFiller(), discs, protocol=PROTOCOL, frame=64, keep=10)
    (_, disc) = found.kept[0]
    x0, y0, x1, y1 = (int(v) for v in disc.box)
    assert disc.mask.sum() == (x1 - x0 + 1) * (y1 - y0 + 1)
    assert found.iou[0] == pytest.approx(np.pi / 4, abs=0.05), "a disc in its box"
