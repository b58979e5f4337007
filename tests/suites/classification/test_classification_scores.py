"""Evaluation against timm's own pipeline, on photographs and on odd images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from linbench.errors import DataError, LinBenchError, UsageError, WeightsError
from linbench.suites.classification.evaluate import evaluate
from linbench.suites.classification.models import (
    TimmClassifier,
    check_size,
    create_model,
    drop_path,
    head_outputs,
    load_model,
    trained_size,
)
from linbench.suites.classification.preprocess import EvalTransform, Preprocessing, preprocessing_of
from linbench.suites.classification.recipes import PAPER
from linbench.suites.data.imagenet import ImageNetFolder
from linbench.suites.training.checkpoint import save_tensors
from PIL import Image
from timm.data import ImageDataset, create_transform, resolve_data_config

pytestmark = pytest.mark.usefixtures("one_thread")

PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "cls" / "val"


@pytest.fixture(scope="module")
def photos():
    if not PHOTOS.is_dir():
        pytest.skip("the photographs are not beside this checkout")
    return ImageNetFolder("ImageNet val", PHOTOS)


class Pixels(torch.nn.Module):
    """A cheap classifier: means of the image's 10x10 blocks of each channel, 1,000 of them."""

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 19).flatten(1)[:, :1000]


@pytest.mark.parametrize("name", ["vit-t", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_images_are_prepared_as_timm_does(photos, name):
    prepared = preprocessing_of(name, None, 224)
    ours = EvalTransform(prepared)
    config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": "bicubic"}
    if name.startswith("timm:"):
        config = resolve_data_config({}, model=timm.create_model(name.removeprefix("timm:")))
    theirs = ImageDataset(str(PHOTOS), transform=create_transform(**config))
    for index in range(0, 501, 25):
        image, label = theirs[index]
        place = photos.items.index(str(Path(theirs.filename(index))))
        assert torch.equal(ours(photos.image(place)), image)
        assert label == photos.labels[place]


def test_a_photograph_with_a_turning_tag_is_taken_as_stored(photos):
    """As timm's and torchvision's folders do; two of these photographs carry one."""
    turned = [
        index for index, item in enumerate(photos.items) if Image.open(PHOTOS / item).getexif().get(0x0112, 1) != 1
    ]
    assert len(turned) == 2
    for index in turned:
        stored = Image.open(PHOTOS / photos.items[index])
        assert np.array_equal(photos.image(index), np.array(stored.convert("RGB")))


def test_logits_are_those_of_timms_pipeline(photos):
    torch.manual_seed(0)
    ours = TimmClassifier("resnet18", 1000).eval()
    targets = photos.targets(1000)
    scores = evaluate(
        ours, photos, targets, preprocessing=preprocessing_of("timm:resnet18", None, 224), limit=6, batch=3
    )
    dataset = ImageDataset(str(PHOTOS), transform=create_transform(**resolve_data_config({}, model=ours.model)))
    with torch.inference_mode():
        logits = torch.cat([ours.model(torch.stack([dataset[i][0] for i in part])) for part in ((0, 1, 2), (3, 4, 5))])
    assert [one.digest for one in scores.scored] == [
        hashlib.sha256(row.numpy().astype("<f4").tobytes()).hexdigest() for row in logits
    ]
    assert [one.predicted for one in scores.scored] == logits.argmax(1).tolist()
    assert scores.summary()["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets[:6])).item(), abs=1e-6
    )


def test_workers_and_batches_do_not_change_the_scores(photos):
    prepared = Preprocessing(64)
    found = {
        (batch, workers): evaluate(
            Pixels(), photos, photos.targets(1000), preprocessing=prepared, limit=40, batch=batch, workers=workers
        )
        for batch, workers in ((8, 0), (8, 4), (1, 0), (40, 2))
    }
    assert found[8, 0].scored == found[8, 4].scored
    for other in ((1, 0), (40, 2)):
        assert found[other].names == found[8, 0].names
        for metric, value in found[other].summary().items():
            assert value == pytest.approx(found[8, 0].summary()[metric], abs=1e-3)


def test_scores_by_hand(tmp_path):
    for folder, value in (("a", 10), ("b", 90), ("c", 250)):
        for index in range(2):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("RGB", (20, 20), (value + index,) * 3).save(tmp_path / folder / f"{index}.png")

    class Brightness(torch.nn.Module):
        def forward(self, images):
            light = images.mean((1, 2, 3))[:, None]
            return -((light - torch.tensor([[-2.0, 2.3, -0.4]])) ** 2)

    folder = ImageNetFolder("greys", tmp_path)
    scores = evaluate(Brightness(), folder, folder.targets(3), preprocessing=Preprocessing(16), batch=4)
    assert [one.predicted for one in scores.scored] == [0, 0, 2, 2, 1, 1]
    assert scores.summary()["top1"] == pytest.approx(100 * 2 / 6)
    assert scores.summary()["top5"] == 100, "there are only three classes"
    assert scores.classes() == {0: (2, 2, None), 1: (0, 2, 2), 2: (0, 2, 1)}


def test_an_unreadable_image_leaves_a_gap_and_nothing_else(photos, tmp_path):
    for index in range(6):
        folder = tmp_path / f"class{index % 2}"
        folder.mkdir(exist_ok=True)
        Image.open(PHOTOS / photos.items[index]).convert("RGB").save(folder / f"{index}.png")
    own = ImageNetFolder("own", tmp_path)
    options = {"preprocessing": Preprocessing(32), "batch": 2}
    before = evaluate(Pixels(), own, own.targets(2), **options)
    (tmp_path / "class0" / "2.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"1 of 6 images could not be used: .*2\.png.*--max-bad 1"):
        evaluate(Pixels(), own, own.targets(2), **options)
    after = evaluate(Pixels(), own, own.targets(2), max_bad=1, **options)
    assert "2.png" in after.bad[0]
    rest = {name: one.digest for name, one in zip(before.names, before.scored, strict=True) if "2.png" not in name}
    assert dict(zip(after.names, (one.digest for one in after.scored), strict=True)) == rest


def test_logits_that_are_not_finite_are_an_error(photos):
    class Broken(torch.nn.Module):
        def forward(self, images):
            return torch.full((len(images), 1000), float("nan"))

    with pytest.raises(LinBenchError, match="not finite"):
        evaluate(Broken(), photos, photos.targets(1000), preprocessing=Preprocessing(32), limit=2)


@pytest.mark.parametrize("name", ["vit-t", "rwkvsam-t", "timm:resnet18"])
def test_a_saved_classifier_comes_back_with_its_own_head(name, tmp_path):
    torch.manual_seed(1)
    model = create_model(name, 7, size=64).eval()
    save_tensors(tmp_path / "w.safetensors", model.state_dict(), {"size": "64"})
    again, outputs = load_model(name, tmp_path / "w.safetensors", size=64)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), again.eval()(images))
    assert outputs == 7
    assert trained_size(tmp_path / "w.safetensors") == 64


def test_weights_without_a_head_or_of_another_model_are_refused(tmp_path):
    model = create_model("vit-t", 5, size=64)
    save_tensors(tmp_path / "body.safetensors", model.backbone.state_dict())
    with pytest.raises(WeightsError, match="holds no classifier head"):
        load_model("vit-t", tmp_path / "body.safetensors")
    save_tensors(tmp_path / "w.safetensors", model.state_dict())
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_model("rwkvsam-t", tmp_path / "w.safetensors")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert trained_size(tmp_path / "w.pth") is None
    assert load_model("vit-t", tmp_path / "w.pth")[1] == 5


def test_the_head_is_found_under_the_names_in_use():
    body = {"blocks.0.mlp.fc.weight": torch.zeros(9, 9), "blocks.0.head.weight": torch.zeros(8, 9)}
    for name in ("head.weight", "head.fc.weight", "fc.weight", "classifier.head.weight", "head.2.weight"):
        assert head_outputs({**body, name: torch.zeros(21, 9)}) == 21
    assert head_outputs({"module.fc.weight": torch.zeros(4, 9), "module.fc.bias": torch.zeros(4)}) == 4
    assert head_outputs({"norm.weight": torch.zeros(4)}) is None


def test_a_size_that_a_model_cannot_take_is_told():
    with pytest.raises(UsageError, match="vit-t does not take images of 100x100"):
        check_size(create_model("vit-t", 3), "vit-t", 100, "cpu")
    check_size(create_model("timm:vit_tiny_patch16_224", 3, size=96), "timm:vit_tiny_patch16_224", 96, "cpu")


def test_stochastic_depth_is_the_published_one_of_each_size():
    assert drop_path("vmamba-t", PAPER) == 0.2
    model = create_model("vmamba-t", 3, recipe=PAPER)
    rates = [module.drop_prob for module in model.modules() if hasattr(module, "drop_prob")]
    assert max(rates) == pytest.approx(0.2)
    assert drop_path("timm:resnet18", PAPER) == 0.0
