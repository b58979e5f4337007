import numpy as np
import pytest
from linbench.results.drawing.boundary import boundary_figure, error_shares
from linbench.results.drawing.figure1 import figure1
from linbench.results.drawing.memory import memory_figure
from linbench.results.drawing.throughput import throughput_figure
from linbench.results.gallery.figure4 import figure4
from linbench.results.gallery.tiles import Shown, pack_mask, save_tile, shown_samples
from PIL import Image
from rows_for_tests import hq_row, latency_row, texts, three

PAGE_PIXELS = 2070


def rate_row(backbone, rate, **params):
    row = latency_row(backbone, 1024, measure="throughput", **params)
    row.status, row.error = "ok", None
    row.metrics = {"images_per_s": rate, "images_per_s_low": rate, "images_per_s_high": rate, "best_batch": 4}
    return row


def test_figure1_joins_speed_and_quality_of_the_same_backbone(tmp_path):
    rows = [hq_row(name, three(60, 50), stage="trained") for name in ("rwkvsam-s", "vit-s", "vim-s")]
    rows += [latency_row("rwkvsam-s", 1024, 25.0), latency_row("vit-s", 1024, 50.0), latency_row("vit-s", 512, 9.0)]
    rows += [latency_row("vit-s", 1024, 20.0, device="GPU B")]
    png, svg, pdf = figure1(rows, tmp_path)
    assert Image.open(png).size[0] == PAGE_PIXELS
    said = texts(svg)
    for text in ("rwkvsam-s (19.7 M)", "vit-s (19.7 M)", "Testor CPU 2000", "GPU B", "images/s", "demo data"):
        assert text in said
    assert "vim-s (" not in said, "it has no time"
    assert "HQ-SAM (paper) (300.0 M)" in said
    assert "(paper)" not in texts(figure1(rows, tmp_path / "b", published=False)[1])
    assert pdf.read_bytes().startswith(b"%PDF")


def test_figure1_takes_the_size_that_was_timed_where_1024_was_not(tmp_path):
    rows = [hq_row("vit-s", three(60, 50)), latency_row("vit-s", 512, 9.0)]
    assert "512 pixels" in texts(figure1(rows, tmp_path, published=False)[1])
    assert figure1(rows[:1], tmp_path / "none") == []
    assert figure1([*rows[:1], latency_row("vit-s", 512, status="oom")], tmp_path / "none") == []


def test_throughput_is_never_the_inverse_of_a_latency(tmp_path):
    rows = [hq_row("vit-s", three(60, 50)), latency_row("vit-s", 1024, 25.0)]
    assert throughput_figure(rows, tmp_path / "none") == []
    said = texts(throughput_figure([*rows, rate_row("vit-s", 70.0)], tmp_path)[1])
    for text in ("images/s at the best batch, 1024 pixels", "vit-s", "Testor CPU 2000", "demo data"):
        assert text in said


def test_a_panel_of_one_system_gives_way_to_those_that_compare(tmp_path):
    rows = [hq_row("vit-s", three(60, 50)), hq_row("vim-s", three(55, 50)), hq_row("vit-s", three(70, 60), data="real")]
    said = texts(throughput_figure([*rows, rate_row("vit-s", 70.0), rate_row("vim-s", 40.0)], tmp_path)[1])
    assert "demo data" in said
    assert "real images" not in said


def test_memory_has_units_crosses_and_a_panel_a_device(tmp_path):
    rows = [latency_row("vit-s", 512, 1.0), latency_row("vit-s", 1024, status="oom")]
    said = texts(memory_figure([*rows, latency_row("vit-s", 512, 1.0, device="GPU B")], tmp_path)[1])
    for text in ("memory of the model (MiB, log scale)", "OOM", "GPU B", "Testor CPU 2000"):
        assert text in said
    assert memory_figure([], tmp_path / "none") == []


def edge_row(backbone, wrong, **params):
    samples = {"edge/percent": [0.5, 1.0, 100.0], "DIS/edge_wrong": wrong, "DIS/edge_pixels": [10, 100, 0]}
    samples |= {"HRSOD/edge_wrong": [0, 0, 0], "HRSOD/edge_pixels": [10, 0, 0]}
    return hq_row(backbone, three(60, 50), samples=samples, **params)


def test_errors_by_distance_are_summed_over_sets_and_seeds(tmp_path):
    rows = [edge_row("vit-s", [4, 10, 0], seed=0), edge_row("vit-s", [0, 10, 0], seed=1)]
    assert error_shares(rows) == [(0.5, 10.0), (1.0, 10.0)]
    said = texts(boundary_figure([*rows, edge_row("vim-s", [9, 0, 0])], tmp_path)[1])
    for text in ("vit-s", "vim-s", "wrong pixels (%, log scale)", "% of the diagonal", "DIS, HRSOD"):
        assert text in said
    assert boundary_figure([hq_row("vit-s", three(60, 50))], tmp_path / "none") == []


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    drawn = [random.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(2)]
    return [(picture, save_tile(tmp_path, picture, "demo")) for picture in drawn]


def gallery_row(backbone, pictures, **params):
    shown = [
        Shown("DIS", f"{index}.png", tile, [1.0, 2.0, 20.0, 20.0], *[pack_mask(picture[..., 0] > 99)] * 2, 0.5, 0.4)
        for index, (picture, tile) in enumerate(pictures)
    ]
    return hq_row(backbone, three(60, 50), samples=shown_samples(shown), **params)


def test_figure4_sets_systems_side_by_side(tmp_path, pictures):
    rows = [gallery_row(name, pictures, stage="trained") for name in ("vit-s", "rwkvsam-s")]
    rows.append(gallery_row("vim-s", pictures, stage="before"))
    png, svg, _ = figure4(rows, tmp_path / "figures", tiles=tmp_path / "tiles")
    assert png.name == "figure4-demo.png"
    said = texts(svg)
    for text in ("image and box", "vit-s", "rwkvsam-s", "truth", "IoU 0.50", "demo data"):
        assert text in said
    assert said.count("IoU 0.50") == 4
    assert "vim-s" not in said, "it was not trained yet"


def test_figure4_needs_the_pictures_and_continues_with_more_systems(tmp_path, pictures):
    rows = [gallery_row(f"timm:net{index}", pictures) for index in range(7)]
    assert figure4(rows, tmp_path / "none", tiles=tmp_path / "elsewhere") == []
    names = [path.name for path in figure4(rows, tmp_path, tiles=tmp_path / "tiles") if path.suffix == ".png"]
    assert names == ["figure4-demo.png", "figure4-demo-2.png"]
