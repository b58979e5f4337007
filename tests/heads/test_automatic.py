"""Everything in an image: found once each, filtered and ranked as the original does."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from linbench.errors import UsageError
from linbench.heads.run_lengths import decode_mask, encode_mask
from linbench.heads.sam import Embedding, Preprocessing
from linbench.heads.sam.automatic import AutomaticOptions, MaskGenerator, default_options
from linbench.heads.sam.predictor import Predictor
from linbench.heads.sam.regions import crop_boxes, mask_box, remove_small, stability, suppress
from torch import nn

DISCS = ((30, 30, 14, (250, 20, 20)), (90, 40, 20, (20, 250, 20)), (50, 80, 10, (20, 20, 250)))
HEIGHT, WIDTH = 104, 128
ROOT = Path(__file__).resolve().parents[2]


class ByColour(nn.Module):
    """Takes for an object what has the colour of the point; of the other two masks one is wrong and one is soft."""

    def __init__(self, *, single_mask=False):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.mask_decoder = nn.Module()
        self.mask_decoder.single_mask = single_mask
        self.preprocessing = Preprocessing()

    def encode(self, images):
        return Embedding(torch.zeros(1, 256, images.shape[-2] // 16, images.shape[-1] // 16), (images,))

    def decode(self, embedding, *, points, labels, multimask):
        assert bool((labels == 1).all())
        (pixels,) = embedding.maps
        colours = torch.stack([pixels[0, :, int(y), int(x)] for ((x, y),) in points])
        far = (nn.functional.avg_pool2d(pixels, 4) - colours[..., None, None]).norm(dim=1, keepdim=True)
        logits = 12 - 12 * far
        if not multimask:
            return logits, torch.full((len(points), 1), -0.1)
        quality = torch.tensor([0.95, 0.3, 0.93]).repeat(len(points), 1)
        return torch.cat([logits, -logits, logits / 40], dim=1), quality


def disc(x, y, radius):
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.fixture(scope="module")
def scene():
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for x, y, radius, colour in DISCS:
        image[disc(x, y, radius)] = colour
    return image


def generate(scene, *, single_mask=False, progress=None, **options):
    predictor = Predictor(ByColour(single_mask=single_mask), frame=256)
    if single_mask:
        options.setdefault("quality_threshold", None)
    generator = MaskGenerator(predictor, AutomaticOptions(**{"points_per_side": 12, "points_at_once": 50, **options}))
    return generator.generate(scene, progress=progress)


@pytest.mark.parametrize("single_mask", [False, True])
def test_each_thing_is_found_once(scene, single_mask):
    found = generate(scene, single_mask=single_mask)
    truths = [disc(*place[:3]) for place in DISCS]
    truths.append(~np.any(truths, axis=0))
    assert len(found) == len(truths)
    for truth in truths:
        best = max(found, key=lambda mask: iou(mask.mask, truth))
        assert iou(best.mask, truth) > 0.85
        assert truth[int(best.point[1]), int(best.point[0])]
        assert best.box == mask_box(best.mask)
        assert best.area == best.mask.sum()
        assert np.abs(np.subtract(best.box, mask_box(truth))).max() <= 1
        assert best.stability > 0.95
        assert best.rle["size"] == [HEIGHT, WIDTH]
        assert best.crop == (0, 0, WIDTH, HEIGHT)


def test_thresholds_filter(scene):
    assert len(generate(scene, quality_threshold=0.96)) == 0
    assert len(generate(scene, stability_threshold=1.0)) == 0
    soft = generate(scene, stability_threshold=0.0, nms_threshold=1.0)
    assert len(soft) > len(generate(scene, nms_threshold=1.0)) > 4


def test_ranking(scene):
    by_quality = [mask.quality for mask in generate(scene, stability_threshold=0.0, nms_threshold=0.95)]
    assert by_quality == sorted(by_quality, reverse=True)
    by_stability = [mask.stability for mask in generate(scene, single_mask=True, stability_threshold=0.5)]
    assert by_stability == sorted(by_stability, reverse=True)


def test_crops_find_what_is_small(scene):
    large = np.kron(scene, np.ones((3, 3, 1), np.uint8))
    (x0, y0, x1, y1), _ = crop_boxes(*large.shape[:2], layers=1, overlap=512 / 1500)[4]
    x, y = (AutomaticOptions(points_per_side=7).points(1)[4 * 7 + 4] * (x1 - x0, y1 - y0) + (x0, y0)).astype(int)
    place = np.zeros(large.shape[:2], bool)
    place[y - 6 : y + 7, x - 6 : x + 7] = True
    large[place] = (250, 250, 20)
    options = {"points_per_side": 7, "stability_threshold": 0.8}
    without, with_crops = (generate(large, **options, crop_layers=layers) for layers in (0, 1))
    assert max(iou(mask.mask, place) for mask in without) < 0.3
    best = max(with_crops, key=lambda mask: iou(mask.mask, place))
    assert iou(best.mask, place) > 0.5
    assert best.crop == (x0, y0, x1, y1)
    assert best.box == mask_box(best.mask)


def test_progress_counts_the_points_of_all_crops(scene):
    seen = []
    generate(scene, points_per_side=4, crop_layers=1, crop_points_divisor=2, progress=lambda *at: seen.append(at))
    assert seen[-1] == (16 + 4 * 4, 16 + 4 * 4)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_small_regions_go(scene):
    dotted = scene.copy()
    hole, island = (slice(28, 32), slice(28, 32)), (slice(72, 76), slice(100, 104))
    dotted[hole] = 128
    dotted[island] = DISCS[0][3]
    before, after = (max(generate(dotted, min_area=area), key=_is_first_disc) for area in (0, 40))
    assert before.mask[island].any()
    assert not before.mask[hole].all()
    assert not after.mask[60:, 95:].any()
    assert after.mask[hole].all()
    assert after.box == mask_box(after.mask)
    assert after.area == after.mask.sum()


def _is_first_disc(mask):
    return iou(mask.mask, disc(*DISCS[0][:3]))


def test_nothing_and_tiny_images():
    for size in ((1, 1), (2, 30)):
        flat = np.full((*size, 3), 7, np.uint8)
        assert [mask.area for mask in generate(flat, points_per_side=2)] == [size[0] * size[1]]
        assert all(mask.mask.shape == size for mask in generate(flat, points_per_side=2, crop_layers=2))
    with pytest.raises(UsageError, match="expected RGB uint8"):
        generate(np.zeros((4, 4), np.uint8))


def test_predicted_quality_counts_where_the_decoder_has_several_masks():
    assert default_options(ByColour()).quality_threshold == 0.88
    assert default_options(ByColour(single_mask=True)).quality_threshold is None


@pytest.mark.parametrize(
    "options",
    [
        {"points_per_side": 0},
        {"points_at_once": 0},
        {"stability_threshold": 95},
        {"nms_threshold": -0.1},
        {"stability_offset": 0},
        {"crop_layers": -1},
        {"crop_overlap": 2},
        {"min_area": -1},
    ],
)
def test_wrong_options(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        AutomaticOptions(**options)


# The parts


def test_run_lengths_come_back():
    mask = np.random.RandomState(0).rand(9, 14) > 0.5
    rle = encode_mask(mask)
    assert isinstance(rle["counts"], str)
    np.testing.assert_array_equal(decode_mask(rle), mask)
    assert mask_box(np.zeros((3, 4), bool)) == (0, 0, 0, 0)


def test_stability_of_an_empty_mask_is_zero():
    assert stability(torch.full((1, 4, 4), -9.0), 1.0).tolist() == [0.0]


def test_the_largest_island_stays():
    mask = np.zeros((10, 10), bool)
    mask[1, 1], mask[5, 5:7] = True, True
    kept, changed = remove_small(mask, 50, "islands")
    assert changed
    assert kept.sum() == 2
    assert remove_small(mask, 1, "islands")[1] is False
    holes, changed = remove_small(~mask, 2, "holes")
    assert changed
    assert holes[1, 1]
    assert not holes[5, 5]


@pytest.fixture(scope="module")
def oracle():
    with pytest.MonkeyPatch.context() as patch:
        # From a checkout's own folder its `kernels` would be taken for the package that transformers looks for.
        patch.setattr(sys, "path", [path for path in sys.path if path and Path(path).resolve() != ROOT])
        transformers = pytest.importorskip("transformers", reason="transformers is not installed (it is in [test])")
        return transformers.SamImageProcessor()


@pytest.mark.parametrize("size", [(300, 451), (64, 64), (1200, 800)])
def test_crops_and_grids_are_those_of_transformers(oracle, size):
    boxes, points, *_ = oracle.generate_crop_boxes(
        torch.zeros(3, *size), target_size=1024, crop_n_layers=2, points_per_crop=8, crop_n_points_downscale_factor=1
    )
    own = crop_boxes(*size, layers=2, overlap=512 / 1500)
    assert [list(box) for box, _ in own] == boxes.int().tolist()
    for (x0, y0, x1, y1), grid in zip((box for box, _ in own), points[0].unbind(1), strict=True):
        scale = 1024 / max(x1 - x0, y1 - y0)
        expected = AutomaticOptions(points_per_side=8).points(0) * np.array([x1 - x0, y1 - y0]) * scale
        np.testing.assert_allclose(grid.numpy(), expected, atol=0.6)


def test_filters_are_those_of_transformers(oracle, monkeypatch):
    random = np.random.RandomState(0)
    height, width, crop = 260, 330, (60, 15, 280, 215)
    rows, columns = np.ogrid[:200, :220]
    places = [(random.randint(20, 190), random.randint(20, 180), random.randint(5, 40)) for _ in range(60)] * 2
    sharpness = random.uniform(1, 15, 120)
    logits = np.stack(
        [s * (r - np.hypot(columns - x, rows - y)) for (x, y, r), s in zip(places, sharpness, strict=True)]
    )
    logits = torch.from_numpy(logits).float()
    quality = torch.from_numpy(random.uniform(0.8, 1, (120, 1)).astype(np.float32))
    rles, scores, boxes = oracle.filter_masks(logits[:, None], quality, (height, width), crop)
    expected = oracle.post_process_for_mask_generation(rles, scores, boxes, 0.7)

    predictor = Predictor(ByColour(), frame=256)
    monkeypatch.setattr(predictor, "decode", lambda **_: (logits[:, None], quality))
    monkeypatch.setattr(predictor, "restored", lambda kept: iter([(slice(None), kept)]))
    generator = MaskGenerator(predictor)
    own = list(generator._segment(torch.zeros(120, 2), crop, (height, width)))
    assert 5 < len(own) < 60
    assert [list(mask.box) for mask in own] == boxes.int().tolist()
    kept = suppress([mask.box for mask in own], [mask.quality for mask in own], 0.7)
    assert len(kept) < len(own)
    np.testing.assert_array_equal([own[index].mask for index in kept], np.stack(expected[0]))
