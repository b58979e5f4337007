import shutil

import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.suites.data.checks import check_dataset, check_folder
from linbench.suites.data.datasets import find_dataset
from PIL import Image


def test_root_comes_from_argument_or_environment(official, monkeypatch):
    monkeypatch.delenv("LINBENCH_DATA", raising=False)
    with pytest.raises(UsageError, match="LINBENCH_DATA"):
        find_dataset("dis-vd")
    monkeypatch.setenv("LINBENCH_DATA", str(official))
    assert len(find_dataset("dis-vd")) == 3


def test_archives_may_be_nested_or_bare(official):
    assert len(find_dataset("dis-vd", official / "DIS5K")) == 3
    assert len(find_dataset("dis-vd", official.parent)) == 3


def test_unknown_name_proposes_one_and_missing_set_shows_the_tree(official):
    with pytest.raises(UsageError, match="did you mean 'dis-vd'"):
        find_dataset("dis-v", official)
    with pytest.raises(DataError, match=r"HRSOD/masks_max255.*bench data check hrsod"):
        find_dataset("hrsod", official)
    with pytest.raises(DataError, match="does not exist"):
        find_dataset("hrsod", official / "nowhere")


def test_half_a_data_root_is_told(official):
    shutil.rmtree(official / "DIS5K" / "DIS-VD" / "gt")
    with pytest.raises(DataError, match="DIS5K/DIS-VD/gt"):
        find_dataset("dis-vd", official)


def test_check_lists_every_problem(official):
    folder = official / "DIS5K" / "DIS-VD"
    for name in "defg":
        shutil.copy(folder / "im" / "a.jpg", folder / "im" / f"{name}.jpg")
        shutil.copy(folder / "gt" / "a.png", folder / "gt" / f"{name}.png")
    data = (folder / "im" / "a.jpg").read_bytes()
    (folder / "im" / "a.jpg").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.zeros((30, 41), np.uint8)).save(folder / "gt" / "b.png")
    (folder / "gt" / "c.png").unlink()
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(folder / "gt" / "d.png")
    (folder / "im" / "e.jpg").unlink()
    report = check_dataset("dis-vd", official)
    text = "\n".join(report.problems)
    for expected in ("a.jpg: unreadable", "b.png: mask of 41x30", "c.jpg: no mask", "d.png: the mask is empty"):
        assert expected in text
    assert "e.png: no image" in text
    assert "expected 470" in text
    assert report.found == 2
    assert not report.ok


def test_check_of_whole_demo_data_is_clean(demo):
    for name in ("dis-vd", "coift", "coconut"):
        report = check_dataset(name, demo)
        assert report.ok, report.problems
        assert report.demo
        assert report.found == report.expected
        assert len(report.fingerprint) == 16
        assert report.to_dict()["ok"] is True


def test_check_of_nothing_is_a_report_not_a_crash(tmp_path, pairs):
    assert "expected HRSOD/images" in check_dataset("hrsod", tmp_path).problems[0]
    assert check_folder("MINE", pairs).ok
    assert not check_folder("MINE", tmp_path / "nowhere").ok


def test_demo_with_a_lost_file_fails_the_check(demo, tmp_path):
    copy = tmp_path / "demo"
    shutil.copytree(demo, copy)
    next((copy / "COIFT" / "images").iterdir()).unlink()
    report = check_dataset("coift", copy)
    assert any("1 images with masks; expected 2" in line for line in report.problems)
