import numpy as np
import pytest
import torch
from linbench.errors import DataError, UsageError
from linbench.suites.data.augment import AugmentOptions, boxes_of, transform
from linbench.suites.data.batches import TrainBatches, prefetch
from linbench.suites.data.datasets import find_dataset
from linbench.suites.data.masks import MaskDataset
from linbench.suites.data.normalise import MEAN, STD
from torch.utils.data import DataLoader


class Squares(MaskDataset):
    """Image `i` is a grey picture with one bright rectangle, which is its mask."""

    name, threshold = "squares", 127

    def __init__(self, count=6, empty=()):
        self.items = tuple(str(index) for index in range(count))
        self.empty = empty
        self.reads = 0

    def labels(self, index):
        mask = np.zeros((1, 90, 120), np.uint8)
        if index not in self.empty:
            mask[0, 20:70, 10 * index : 10 * index + 60] = 255
        return mask

    def image(self, index):
        self.reads += 1
        return np.where(self.labels(index)[0, ..., None] > 0, 250, 50 + index).astype(np.uint8).repeat(3, 2)

    def files(self, index):
        return ()


def stream(**changes):
    arguments = {"frame": 64, "batch_size": 3, "steps": 10, "seed": 5, **changes}
    return TrainBatches([Squares()], **arguments)


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_batch_has_the_promised_shapes(demo):
    batches = TrainBatches(
        [find_dataset("coconut", demo), find_dataset("dis-tr", demo)], frame=96, batch_size=5, steps=2
    )
    batch = next(iter(batches))
    count = len(batch["masks"])
    assert batch["images"].shape == (5, 3, 96, 96)
    assert batch["masks"].shape == (count, 96, 96)
    assert batch["boxes"].shape == (count, 4)
    assert batch["masks"].dtype == torch.uint8
    assert {int(value) for value in batch["masks"].unique()} == {0, 1}
    assert torch.equal(batch["image_index"].unique(), torch.arange(5))
    assert int(batch["masks"].sum((1, 2)).min()) >= 32
    assert torch.equal(batch["boxes"], torch.from_numpy(boxes_of(batch["masks"].numpy())))


def test_image_and_masks_move_together():
    options = AugmentOptions(scale=(0.4, 2.0), colour=0.0)
    batches = stream(options=options, frame=80)
    for step in range(10):
        batch = batches.batch(step)
        bright = batch["images"][:, 0] * STD[0] + MEAN[0] > 150
        masks = batch["masks"].bool()
        union = (bright[batch["image_index"]] | masks).sum()
        assert (bright[batch["image_index"]] ^ masks).sum() < 0.08 * union


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_do_not_change_the_stream(workers):
    alone = list(stream())
    threaded = list(prefetch(stream(), workers=workers, ahead=3))
    assert len(alone) == len(threaded) == 10
    assert all(same(one, other) for one, other in zip(alone, threaded, strict=True))


def test_worker_processes_do_not_change_the_stream(demo):
    def batches():
        return TrainBatches([find_dataset("dis-tr", demo)], frame=64, batch_size=2, steps=3)

    loader = DataLoader(batches(), batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert all(same(one, other) for one, other in zip(list(batches()), list(loader), strict=True))


def test_prefetch_stops_when_the_caller_does_and_passes_errors_on():
    batches = prefetch(stream(steps=1000))
    next(batches)
    batches.close()
    broken = TrainBatches([Squares(2, empty={0, 1})], frame=64, batch_size=1, steps=3)
    with pytest.raises(DataError, match="no mask"):
        next(prefetch(broken))


def test_resuming_and_caching_do_not_change_the_stream():
    whole = list(stream())
    rest = list(stream(start_step=4, cache_mib=0))
    assert len(rest) == 6
    assert all(same(one, other) for one, other in zip(whole[4:], rest, strict=True))
    assert not same(whole[0], next(iter(stream(seed=6))))


def test_an_epoch_shows_every_image_and_repeats_weigh():
    plain = AugmentOptions(scale=(1.0, 1.0), colour=0.0, flip=0.0)
    batches = TrainBatches([Squares(6)], frame=64, batch_size=3, steps=4, options=plain)

    def shown(batches, steps):
        images = torch.cat([batches.batch(step)["images"] for step in steps])
        return sorted(round(float(image[0].min()), 3) for image in images[:, :, :48])

    assert len(set(shown(batches, (0, 1)))) == 6
    assert shown(batches, (0, 1)) == shown(batches, (2, 3))
    two = TrainBatches([Squares(2), Squares(4)], frame=64, batch_size=8, steps=1, repeats=(2, 1), options=plain)
    assert len(two.batch(0)["images"]) == 8
    assert len(set(shown(two, (0,)))) == 4


def test_processes_share_an_epoch():
    one, other = (stream(rank=rank, world_size=2, options=AugmentOptions(colour=0.0)) for rank in (0, 1))
    assert not same(one.batch(0), other.batch(0))
    whole = stream(batch_size=6, options=AugmentOptions(colour=0.0)).batch(0)
    halves = [stream_half.batch(0)["images"] for stream_half in (one, other)]
    assert torch.equal(whole["images"], torch.cat(halves))


def test_cache_decodes_each_image_once():
    dataset = Squares()
    batches = TrainBatches([dataset], frame=64, batch_size=6, steps=5)
    list(batches)
    assert dataset.reads == 6


def test_images_without_objects_are_replaced_and_all_empty_is_an_error():
    some = TrainBatches([Squares(6, empty={0, 1, 2})], frame=64, batch_size=6, steps=1)
    assert len(some.batch(0)["image_index"].unique()) == 6
    none = TrainBatches([Squares(2, empty={0, 1})], frame=64, batch_size=1, steps=1)
    with pytest.raises(DataError, match="no mask of 32 pixels"):
        none.batch(0)


def test_arguments_that_cannot_be_meant():
    for changes in (
        {"batch_size": 0},
        {"frame": 4},
        {"start_step": 11},
        {"rank": 1},
        {"repeats": (1, 1)},
        {"repeats": (0,)},
    ):
        with pytest.raises(UsageError):
            stream(**changes)
    for changes in ({"scale": (2.0, 1.0)}, {"flip": 1.5}, {"max_instances": 0}):
        with pytest.raises(UsageError):
            AugmentOptions(**changes)


def test_at_scale_one_the_frame_holds_the_whole_image():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 100, 3), dtype=np.uint8)
    layers = np.ones((1, 50, 100), np.uint8)
    options = AugmentOptions(scale=(1.0, 1.0), flip=0.0, colour=0.0, mixed_filters=False)
    sample = transform(rng, image, layers, 100, options)
    assert np.allclose(sample.image[:, :50].transpose(1, 2, 0) * STD + MEAN, image, atol=1e-3)
    assert not sample.image[:, 50:].any()
    assert sample.boxes.tolist() == [[0, 0, 99, 49]]


def test_instances_are_capped_and_small_ones_dropped():
    layers = np.zeros((1, 64, 64), np.uint8)
    for number in range(16):
        row, column = divmod(number, 4)
        layers[0, row * 16 : row * 16 + 12, column * 16 : column * 16 + (12 if number else 2)] = number + 1
    options = AugmentOptions(scale=(1.0, 1.0), max_instances=10)
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(transform(np.random.default_rng(0), image, layers, 64, options).masks) == 10
    many = transform(np.random.default_rng(0), image, layers, 64, AugmentOptions(scale=(1.0, 1.0)))
    assert len(many.masks) == 15
