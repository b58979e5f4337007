"""Scores do not depend on how the work is spread."""

import tracemalloc

import numpy as np
import pytest
import torch
from linbench import create_system
from linbench.suites.data.masks import MaskDataset, open_folder
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
    ((_, masks),) = network.predict([sample], lambda item: item, keep=list)
    ((_, one),) = network.predict(
        [PROTOCOL.prepare(discs.image(0), discs.labels(0), frame=64)], lambda item: item, keep=list
    )
    assert len(masks) == 35
    assert all((mask == one[0]).mean() > 0.999 for mask in masks)


def test_the_baseline_fills_the_box(discs):
    found = evaluate(BoxFiller(), discs, protocol=PROTOCOL, frame=64, keep=10)
    (_, disc) = found.kept[0]
    x0, y0, x1, y1 = (int(v) for v in disc.box)
    assert disc.mask.sum() == (x1 - x0 + 1) * (y1 - y0 + 1)
    assert found.iou[0] == pytest.approx(np.pi / 4, abs=0.05), "a disc in its box"


class Endless(MaskDataset):
    """Images that exist only while they are looked at."""

    def __init__(self, count):
        self.name, self.threshold = "ENDLESS", 127
        self.items = tuple(f"{n:05d}" for n in range(count))

    def image(self, index):
        return np.full((240, 320, 3), index % 256, np.uint8)

    def labels(self, index):
        label = np.zeros((1, 240, 320), np.uint8)
        label[:, 20 : 60 + index % 100, 30:90] = 255
        return label

    def files(self, index):
        return ()


def test_memory_stays_flat_over_a_thousand_images():
    kept, peaks = [], []
    for count in (100, 1000):
        tracemalloc.start()
        found = evaluate(BoxFiller(), Endless(count), protocol=PROTOCOL, frame=64, workers=4)
        for values, value in zip((kept, peaks), tracemalloc.get_traced_memory(), strict=True):
            values.append(value)
        tracemalloc.stop()
        assert len(found.iou) == count
    # Its name, its scores and its errors by distance to the edge.
    assert kept[1] < kept[0] + 900 * 2000, "an image leaves less than two kilobytes"
    assert peaks[1] < 2 * peaks[0], "images at work at a time: as many of a hundred as of a thousand"


class Specks(Endless):
    """An empty mask, one of a pixel, and one of two thin rows."""

    def __init__(self):
        super().__init__(3)

    def labels(self, index):
        label = np.zeros((1, 240, 320), np.uint8)
        label[:, :index, : index**6] = 255
        return label


def test_masks_that_give_no_box_are_named(system):
    protocol = get_protocol("hqsam")
    found = evaluate(Network(system, protocol, device="cpu"), Specks(), protocol=protocol, frame=32)
    assert found.empty == ["00000"]
    assert found.unprompted == ["00001", "00002"]
    assert found.iou == [1.0, 0.0, 0.0]


class Large(Endless):
    """Images larger than a contact sheet shows."""

    def image(self, index):
        return np.full((1500, 3000, 3), 90, np.uint8)

    def labels(self, index):
        label = np.zeros((1, 1500, 3000), np.uint8)
        label[:, 300:600, 600:1200] = 255
        return label


def test_kept_pictures_are_small():
    found = evaluate(BoxFiller(), Large(1), protocol=PROTOCOL, frame=64, keep=1)
    ((_, kept),) = found.kept
    assert kept.image.shape == (512, 1024, 3)
    assert kept.mask.shape == kept.truth.shape == (512, 1024)
    assert kept.mask.mean() == pytest.approx(0.04, abs=1e-3)
    assert kept.box == pytest.approx((204.8, 102.4, 409.3, 204.5), abs=0.1)
    assert found.iou == [1.0]
