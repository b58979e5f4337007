import pytest
from linbench.results.drawing.figure3 import figure3
from linbench.results.drawing.marks import is_sealed, sealed, told_digest, told_seal
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rows_for_tests import latency_row


@pytest.fixture
def drawn(tmp_path):
    return figure3([latency_row("vit-s", res, res / 100) for res in (512, 1024)], tmp_path, published=False)


def kept_texts(picture):
    picture.load()
    texts = PngInfo()
    for key, text in picture.text.items():
        texts.add_text(key, text)
    return texts


def test_what_was_written_is_sealed_and_still_valid(drawn):
    import xml.etree.ElementTree as ET

    assert all(is_sealed(path.read_bytes()) for path in drawn)
    png, svg, pdf = drawn
    with Image.open(png) as picture:
        picture.load()
        assert picture.text["Seal"].endswith(told_seal(png.read_bytes()))
    ET.parse(svg)
    assert b"%%EOF" in pdf.read_bytes()[-200:], "readers look for it near the end"


def flip(path):
    with Image.open(path) as picture:
        texts = kept_texts(picture)
        red, *others = picture.getpixel((5, 5))
        picture.putpixel((5, 5), (red ^ 255, *others))
        picture.save(path, pnginfo=texts)


def rename(path):
    path.write_text(path.read_text().replace("512", "513"))


def append(path):
    path.write_bytes(path.read_bytes() + b"% a word\n")


@pytest.mark.parametrize(("place", "change"), [(0, flip), (1, rename), (2, append)])
def test_a_changed_file_keeps_its_digest_and_breaks_its_seal(drawn, place, change):
    before = told_digest(drawn[place].read_bytes())
    change(drawn[place])
    data = drawn[place].read_bytes()
    assert told_digest(data) == before
    assert told_seal(data)
    assert not is_sealed(data)


def test_figures_changed_by_hand_are_drawn_again(drawn):
    before = [path.read_bytes() for path in drawn]
    append(drawn[1])
    figure3([latency_row("vit-s", res, res / 100) for res in (512, 1024)], drawn[0].parent, published=False)
    assert [path.read_bytes() for path in drawn] == before


def test_a_seal_that_is_cut_or_moved_into_another_file_is_none():
    data = sealed(b"%PDF-1.4\n%%EOF\n")
    assert is_sealed(data)
    assert told_seal(b"%PDF-1.4") is None
    assert not is_sealed(data[:-30])
    assert not is_sealed(data[:-1])
    assert not is_sealed(b"<svg/>" + data[data.index(b"% linbench") :])
