import numpy as np
import pytest
from linbench.errors import UsageError
from linbench.results.comparison.quality import quality_of_sets, quality_of_subjects, quality_table
from linbench.results.comparison.sides import find_sides
from linbench.results.store import Store
from linbench.results.tabling.tables import to_markdown
from rows_for_tests import hq_row

IMAGES = 60


def scored(backbone, shift, *, commit="a" * 40, spread=0.05, names=None, **params):
    """A row whose scores of single images are those of every other row, shifted and shaken."""
    random = np.random.default_rng(len(backbone))
    base = np.random.default_rng(0).uniform(0.4, 0.9, IMAGES)
    iou = np.clip(base + shift + random.normal(0, spread, IMAGES), 0, 1)
    names = names or [f"{index:03d}.png" for index in range(IMAGES)]
    samples = {"DIS/names": names, "DIS/iou": iou.round(6).tolist(), "DIS/biou": (iou / 2).round(6).tolist()}
    params = {"datasets": ["DIS"], "dataset_fingerprints": {"DIS": "d" * 64}, "stage": "trained", "seed": 0} | params
    row = hq_row(backbone, {"DIS": (100 * iou.mean(), 50 * iou.mean())}, samples=samples, **params)
    row.metrics["COCO/map"] = 40.0 + 100 * shift
    row.provenance = {**row.provenance, "linbench": {"commit": commit}}
    return row


def verdicts(compared):
    return {one.metric: one.verdict for one in compared}


def test_what_every_image_agrees_on_is_better_or_worse_and_noise_a_tie():
    rows = [scored("rwkvsam-s", 0.0), scored("vit-s", -0.05), scored("vim-s", 0.0)]
    worse = quality_of_subjects(rows, "rwkvsam-s", "vit-s")
    assert verdicts(worse)["DIS/miou"] == verdicts(worse)["miou"] == "worse"
    assert {one.verdict for one in quality_of_subjects(rows, "vit-s", "rwkvsam-s") if one.images} == {"better"}
    tie = {one.metric: one for one in quality_of_subjects(rows, "rwkvsam-s", "vim-s")}
    assert tie["DIS/miou"].verdict == "tie"
    assert tie["DIS/miou"].difference.low < 0 < tie["DIS/miou"].difference.high


def test_pairing_by_image_sees_what_the_spread_over_images_hides():
    rows = [scored("a", 0.0, spread=0.0), scored("b", 0.01, spread=0.0)]
    (found,) = [one for one in quality_of_subjects(rows, "a", "b") if one.metric == "DIS/miou"]
    assert found.verdict == "better"
    assert found.difference.value == pytest.approx(1.0, abs=0.2)
    assert found.images == IMAGES


def test_only_images_that_both_scored_are_paired_whatever_their_order():
    names = [f"{index:03d}.png" for index in range(IMAGES)]
    ours, theirs = scored("a", 0.0, spread=0.0), scored("b", 0.0, spread=0.0)
    for key in theirs.samples:
        theirs.samples[key] = theirs.samples[key][::-1][:20]
    assert theirs.samples["DIS/names"] == names[::-1][:20]
    (found,) = [one for one in quality_of_subjects([ours, theirs], "a", "b") if one.metric == "DIS/miou"]
    assert (found.images, found.difference.value) == (20, 0.0)


@pytest.mark.parametrize(("images", "verdict"), [(1, None), (2, None), (5, None), (6, "worse")])
def test_a_handful_of_images_gives_no_verdict(images, verdict):
    """Two of two images that agree are a coin's work."""
    rows = [scored("a", 0.0, spread=0.0), scored("b", -0.1, spread=0.0)]
    for row in rows:
        row.samples = {key: values[:images] for key, values in row.samples.items()}
    compared = quality_of_subjects(rows, "a", "b")
    (found,) = [one for one in compared if one.metric == "DIS/miou"]
    assert (found.images, found.verdict) == (images, verdict)
    (line,) = [line for line in quality_table(compared, "a", "b").cells if line[1] == "DIS/miou"]
    assert ("[" in line[4]) == (verdict is not None)


def test_scores_without_single_images_have_a_difference_and_no_verdict():
    found = {one.metric: one for one in quality_of_subjects([scored("a", 0.0), scored("b", 0.05)], "a", "b")}
    assert found["COCO/map"].verdict is None
    text = to_markdown([quality_table(list(found.values()), "a", "b")])
    assert "+5.00 |" in text


def test_a_failed_row_shows_its_mark():
    failed = hq_row(
        "b", status="oom", datasets=["DIS"], dataset_fingerprints={"DIS": "d" * 64}, stage="trained", seed=0
    )
    compared = quality_of_subjects([scored("a", 0.0), failed], "a", "b")
    assert {one.second_status for one in compared} == {"oom"}
    assert "OOM" in to_markdown([quality_table(compared, "a", "b")])


def test_other_data_protocols_and_seeds_are_not_compared():
    rows = [scored("a", 0.0), scored("b", 0.0, protocol="hqsam"), scored("b", 0.0, seed=1)]
    assert quality_of_subjects(rows, "a", "b") == []


def test_two_commits_of_one_store(tmp_path):
    store = Store(tmp_path)
    store.write(scored("rwkvsam-s", 0.0, commit="abcdef1" + "0" * 33))
    store.write(scored("rwkvsam-s", -0.1, commit="1234567" + "0" * 33))
    sides = find_sides(store, "abcdef1", "1234567")
    assert verdicts(quality_of_sets(sides.first, sides.second))["DIS/mbiou"] == "worse"
    with pytest.raises(UsageError, match=r"no rows of commit '7777777'.*123456700000"):
        find_sides(store, "abcdef1", "7777777")
    assert find_sides(store, "rwkvsam-s", "vit-s") is None
