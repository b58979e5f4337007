import numpy as np
import pytest
from linbench.errors import StoreError, UsageError
from linbench.results.drawing.curves import learning_curves
from linbench.results.drawing.figure3 import figure3
from linbench.results.gallery.sheet import GalleryItem, gallery, overlay
from linbench.results.reporting.report import write_report
from linbench.results.store import Store
from PIL import Image
from rows_for_tests import hq_row, latency_row, texts, three

CURVE = {"curve/step": [1, 2, 3], "curve/loss": [3.0, None, 1.0], "curve/probe_mbiou": [40.0, 60.0]}
CURVE["curve/probe_mbiou_step"] = [0, 3]


def sweep():
    rows = [latency_row("rwkvsam-s", res, res / 2.0) for res in (512, 1024, 2048)]
    rows += [latency_row("vit-s", res, res / 1.5) for res in (512, 1024)]
    return [*rows, latency_row("vit-s", 2048, status="oom")]


def test_figure3_names_device_exponent_and_oom(tmp_path):
    png, svg, _ = figure3(sweep(), tmp_path)
    assert Image.open(png).size[0] > 600
    said = texts(svg)
    for text in ("Testor CPU 2000", "float32", "rwkvsam-s", "vit-s", "OOM", "2048", "log scale"):
        assert text in said
    assert "0.50" in said


def test_figure3_has_a_panel_a_device_and_nothing_without_numbers(tmp_path):
    rows = [*sweep(), latency_row("vit-s", 512, 3.0, device="GPU B")]
    said = texts(figure3(rows, tmp_path)[1])
    assert "GPU B" in said
    assert said.count("input resolution") == 3, "one of each device and one of the paper"
    said = texts(figure3(rows, tmp_path, published=False)[1])
    assert said.count("input resolution") == 2
    assert figure3([latency_row("vit-s", 512, status="oom")], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_learning_curves_are_a_file_a_backbone(tmp_path):
    rows = [hq_row("rwkvsam-s", three(66, 55), seed=seed, samples=CURVE) for seed in (0, 1)]
    paths = learning_curves([*rows, hq_row("vit-s", three(6, 5))], tmp_path)
    assert [path.name for path in paths] == [f"curve-rwkvsam-s-demo.{form}" for form in ("png", "svg", "pdf")]
    said = texts(paths[1])
    for text in ("demo data (drawn)", "Testor CPU 2000", "loss", "probe mBIoU (%)", "seed=1"):
        assert text in said


def test_a_curve_without_steps_is_an_error(tmp_path):
    row = hq_row("rwkvsam-s", three(66, 55), samples={"curve/step": [1, 2], "curve/loss": [1.0]})
    with pytest.raises(UsageError, match="curve/loss has 1 values for 2 steps"):
        learning_curves([row], tmp_path)


def item(height=40, width=60, title="DIS/a.jpg"):
    image = np.full((height, width, 3), 200, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[5:20, 10:30] = True
    return GalleryItem(image, (10, 5, 29, 19), mask, mask, title)


def test_a_gallery_is_one_png_with_a_line_an_item(tmp_path):
    one = Image.open(gallery([item()], tmp_path / "gallery-a.png"))
    three_lines = Image.open(gallery([item(), item(90, 30), item()], tmp_path / "new" / "gallery-b.png"))
    assert one.size[0] == three_lines.size[0]
    narrow = 2.4 * 40 / 60 + 0.35
    assert three_lines.size[1] / one.size[1] == pytest.approx((2 * narrow + 2.4 * 2 + 0.35) / narrow, rel=0.02)


def test_a_gallery_of_nothing_or_of_other_sizes_is_refused(tmp_path):
    with pytest.raises(UsageError, match="at least one"):
        gallery([], tmp_path / "a.png")
    with pytest.raises(UsageError, match="differ in size"):
        gallery([item()._replace(truth=np.zeros((3, 3), bool))], tmp_path / "a.png")


def test_the_overlay_is_grey_outside_the_mask():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    mask = np.arange(64).reshape(8, 8) % 2 == 0
    shown = overlay(image, mask, "#FF0000")
    assert (shown[~mask] == shown[~mask][:, :1]).all()
    assert (shown[mask][:, 0] >= 140).all()


def test_a_report_is_the_same_bytes_from_the_same_rows(tmp_path):
    rows = [hq_row("rwkvsam-s", three(66, 55), samples=CURVE), hq_row("baseline:box", three(33, 23)), *sweep()]
    written = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        for row in order:
            Store(tmp_path / name).write(row)
        written.append(write_report(Store(tmp_path / name), tmp_path / name))
    names = [path.relative_to(tmp_path / "a").as_posix() for path in written[0]]
    assert names == [
        *(f"tables/{stem}.{form}" for stem in ("table3", "latency") for form in ("md", "csv", "tex")),
        *(
            f"figures/{stem}.{form}"
            for stem in ("figure1", "figure3", "memory", "curve-rwkvsam-s-demo")
            for form in ("png", "svg", "pdf")
        ),
    ]
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]


def test_a_users_matplotlib_style_changes_nothing(tmp_path):
    import matplotlib as mpl

    plain = figure3(sweep(), tmp_path / "a")[1].read_bytes()
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": None}):
        assert figure3(sweep(), tmp_path / "b")[1].read_bytes() == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_report_of_an_empty_store_writes_nothing(tmp_path):
    assert write_report(Store(tmp_path), tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_an_unwritable_report_folder_is_one_line(tmp_path):
    Store(tmp_path).write(latency_row("vit-s", 512, 1.0))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_report(Store(tmp_path), tmp_path / "file")
    with pytest.raises(StoreError, match="cannot write"):
        gallery([item()], tmp_path / "file" / "a.png")
