"""Training batches: the same whoever draws them; recipes as data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from linbench.errors import DataError, UsageError
from linbench.suites.classification.preprocess import Preprocessing, TrainTransform
from linbench.suites.classification.recipes import DEMO, PAPER, PAPER_300, RECIPES, Mixing
from linbench.suites.classification.stream import ClassBatches, ClassStream, stage_share
from linbench.suites.data.imagenet import ImageNetFolder
from linbench.suites.training.recipes import load_recipe
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(PAPER, size=32, train=replace(PAPER.train, steps=6, images=8, images_per_pass=None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for index in range(10):
        (root / f"c{index % 2}").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(root / f"c{index % 2}" / f"{index}.png")
    return ImageNetFolder("noise", root)


def stream(folder, recipe=RECIPE, **options):
    return ClassStream(folder, recipe, recipe.train, Preprocessing(32), **options)


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in ("images", "targets", "samples"))


def test_a_resumed_stream_goes_on_with_the_same_batches(folder):
    straight = list(stream(folder)(0, 0, 1))
    assert len(straight) == 6
    assert all(map(equal, straight[4:], stream(folder)(4, 0, 1)))
    assert not equal(straight[0], straight[1])
    assert not equal(straight[0], next(stream(folder, seed=1)(0, 0, 1)))


def test_worker_processes_draw_the_same_batches(folder):
    torch.manual_seed(5)
    mine = list(stream(folder)(2, 0, 1))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1)), "drawing leaves the process's random numbers alone"
    assert all(map(equal, mine, stream(folder, workers=2)(2, 0, 1)))


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_the_step_of_one_process_mixing_included(folder, world):
    for step in range(3):
        alone, _ = ClassBatches(stream(folder), 0, 1)[step]
        parts = [ClassBatches(stream(folder), rank, world)[step][0] for rank in range(world)]
        together = {key: torch.cat([part[key] for part in parts]) for key in alone}
        order = torch.argsort(together["samples"])
        expected = torch.argsort(alone["samples"])
        for key in alone:
            assert torch.equal(together[key][order], alone[key][expected])


def test_targets_are_smoothed_and_mixed(folder):
    batch, _ = ClassBatches(stream(folder), 0, 1)[0]
    assert batch["targets"].shape == (8, 2)
    assert torch.allclose(batch["targets"].sum(1), torch.ones(8))
    plain = replace(RECIPE, mixing=Mixing(0, 0))
    batch, _ = ClassBatches(stream(folder, plain), 0, 1)[0]
    assert torch.equal(batch["targets"].max(1).values, torch.full((8,), 0.95))
    sharp, _ = ClassBatches(stream(folder, replace(plain, label_smoothing=0.0)), 0, 1)[0]
    numbers = [folder.items.index(name) for name in stream(folder).names(sharp["samples"].tolist())]
    assert sharp["targets"].argmax(1).tolist() == folder.labels[numbers].tolist()


def test_every_epoch_shows_every_image_once(folder):
    batches = ClassBatches(stream(folder), 0, 1)
    shown = [place for step in range(5) for place in batches.places(step)]
    assert sorted(shown) == list(range(40))
    names = stream(folder).names(sorted(shown))
    for epoch in range(4):
        assert sorted(names[10 * epoch : 10 * epoch + 10]) == sorted(folder.items)


def test_the_same_image_is_drawn_differently_in_another_epoch(folder):
    draw = TrainTransform(RECIPE, Preprocessing(32))
    image = folder.image(0)
    assert torch.equal(draw(image, 0, 1, 0, 3), draw(image, 0, 1, 0, 3))
    assert not torch.equal(draw(image, 0, 1, 0, 3), draw(image, 0, 1, 1, 3))


def test_the_published_policy_survives_its_greatest_magnitude(folder):
    """Newer releases of Pillow refuse to posterize to no bits, which timm asks for at magnitude 10."""
    strong = replace(RECIPE, augmentation=replace(RECIPE.augmentation, policy="rand-m10-n9-inc1"))
    draw = TrainTransform(strong, Preprocessing(32))
    assert all(draw(folder.image(index % 10), index).isfinite().all() for index in range(30))


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_replaced_only_when_asked(tmp_path, workers):
    for index in range(4):
        (tmp_path / "c").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (9, 60 * index, 9)).save(tmp_path / "c" / f"{index}.png")
    (tmp_path / "c" / "1.png").write_bytes(b"torn")
    folder = ImageNetFolder("torn", tmp_path)
    with pytest.raises(DataError, match=r"^torn: 1 images could not be used, 0 are tolerated: .*1\.png.*--max-bad$"):
        list(stream(folder, workers=workers)(0, 0, 1))
    lenient = stream(folder, workers=workers, max_bad=1)
    assert len(list(lenient(0, 0, 1))) == 6
    assert list(lenient.bad) == ["c/1.png"]


def test_steps_that_cannot_be_shared_are_told():
    with pytest.raises(UsageError, match="cannot be shared equally by 3"):
        stage_share(RECIPE, RECIPE.train, 3)
    with pytest.raises(UsageError, match="cannot pair"):
        stage_share(RECIPE, RECIPE.train, 8)
    assert stage_share(replace(RECIPE, mixing=Mixing(0, 0)), RECIPE.train, 8) == 1


def test_the_published_recipes():
    stage = PAPER.optimisation(1_281_167)
    assert (stage.steps, stage.warmup_steps, stage.images, stage.lr) == (150_137, 12_511, 1024, 1e-3)
    assert stage.lr * stage.lr_end == pytest.approx(1e-5)
    longer = PAPER_300.optimisation(1_281_167)
    assert (longer.steps, longer.warmup_steps) == (375_342, 25_023)
    assert PAPER.train.weight_decay == 0.05
    assert PAPER.train.clip_norm == 5.0
    assert PAPER.train.ema is None
    assert replace(PAPER_300, name="paper", epochs=120, warmup_epochs=10) == PAPER


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.lrs=1", "did you mean train.lr"),
        ("lr=1", "did you mean train.lr"),
        ("label_smoothing=1.0", "0 to below 1"),
        ("augmentation.policy=rnd-m9", "as timm names it"),
        ("augmentation.crop_area=[0.5, 0.2]", "two rising numbers"),
        ("mixing.cutmix=-1", "0 or more"),
        ("drop_path=big", "expected float or none"),
        ("epochs=0", "above 0, or train.steps"),
    ],
)
def test_values_that_cannot_be_meant(change, said):
    with pytest.raises(UsageError, match=said):
        load_recipe("paper", [change], RECIPES)


def test_steps_go_before_epochs():
    assert load_recipe("paper", ["train.steps=9"], RECIPES).optimisation(1000).steps == 9
    assert DEMO.optimisation(10**6) == DEMO.train
