import xml.etree.ElementTree as ET

from linbench.results.drawing.kernels import kernels_figure
from PIL import Image
from rows_for_tests import kernel_row, kernel_rows


def texts(path):
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    tree = ET.parse(path, parser)
    return " ".join(node.text for node in tree.iter() if node.tag is ET.Comment)


def test_panels_name_operator_device_shapes_and_implementations(tmp_path):
    found = [*kernel_rows(), kernel_row("cpu", 9.0, direction="backward"), kernel_row("triton", 0.1, device="GPU B")]
    png, svg, _ = kernels_figure(found, tmp_path)
    assert Image.open(png).size[0] > 1000
    said = texts(svg)
    for text in ("bi_wkv, forward", "Testor CPU 2000", "bi_wkv, backward", "GPU B", "rwkvsam-s 1024", "B1 T4096 C192"):
        assert text in said
    for name in ("cpu", "torch", "near", "triton", "roofline"):
        assert name in said
    assert "broken" not in said, "a wrong implementation has no marker"


def test_without_a_time_there_is_no_figure(tmp_path):
    assert kernels_figure(kernel_rows()[3:], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
