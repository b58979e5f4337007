import numpy as np
from linbench.results.gallery.semseg import SemanticItem, semantic_gallery
from rows_for_tests import texts

NAMES = [f"class{number:02d}" for number in range(20)]


def sheet(tmp_path, truth):
    image = np.full((*truth.shape, 3), 90, np.uint8)
    item = SemanticItem(image, truth, np.zeros_like(truth), "a.jpg: 50.0 % of the pixels right")
    return texts(semantic_gallery([item], NAMES, tmp_path / "gallery-a.svg"))


def test_the_legend_tells_colours_and_what_grey_means(tmp_path):
    truth = np.arange(300, dtype=np.uint8).reshape(15, 20) % 15
    said = sheet(tmp_path, truth)
    for text in (
        "image",
        "truth",
        "prediction",
        "class00",
        "commonest classes",
        "3 more",
        "50.0 % of the pixels right",
    ):
        assert text in said
    assert "not scored" not in said
    truth[0] = 255
    assert "no class given: not scored" in sheet(tmp_path, truth)
