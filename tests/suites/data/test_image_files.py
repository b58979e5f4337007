import numpy as np
import pytest
from linbench.errors import DataError
from linbench.suites.data.decode import read_image, read_label, upright_size
from PIL import Image

GREY = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (20, 1))


def save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    else:
        grey = Image.fromarray(GREY)
        image = grey.convert(mode) if mode == "P" else grey.convert("RGB").convert(mode)
    path = save(tmp_path / ("x.jpg" if mode == "CMYK" else "x.png"), image)
    pixels = read_image(path)
    assert pixels.shape == (20, 32, 3)
    assert pixels.dtype == np.uint8
    if mode != "1":
        assert np.abs(pixels.astype(int).mean(2) - GREY).mean() < 8


def test_exif_orientation_turns_image_and_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "x.jpg", Image.fromarray(GREY), exif=exif, quality=95)
    assert read_image(path).shape == (32, 20, 3)
    assert upright_size(path) == (32, 20)
    assert read_image(path)[0].mean() < 20 < 200 < read_image(path)[-1].mean()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_and_foreign_files_are_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"x.{suffix}", Image.fromarray(noise))
    data = path.read_bytes()
    for bad in (data[: len(data) // 2], b"", b"<html>404</html>"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=f"x.{suffix}"):
            read_image(path)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        read_image(path)


def test_labels_of_equal_channels_and_16_bits(tmp_path):
    for mode in ("RGB", "RGBA", "P"):
        assert np.array_equal(read_label(save(tmp_path / f"{mode}.png", Image.fromarray(GREY).convert(mode))), GREY)
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert np.array_equal(read_label(save(tmp_path / "deep.png", deep)), GREY)
    bits = Image.fromarray(GREY > 100)
    assert set(np.unique(read_label(save(tmp_path / "bits.png", bits)))) == {0, 255}


def test_labels_that_would_be_misread_are_refused(tmp_path):
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[1, 1] = (128, 0, 0)
    with pytest.raises(DataError, match="coloured"):
        read_label(save(tmp_path / "c.png", Image.fromarray(colour)))
    with pytest.raises(DataError, match="0 and 1"):
        read_label(save(tmp_path / "b.png", Image.fromarray(np.eye(4, dtype=np.uint8))))


@pytest.mark.parametrize("highest", [1, 255])
def test_16_bit_files_that_use_the_lower_byte_only_are_no_empty_masks(tmp_path, highest):
    path = save(tmp_path / "shallow.png", Image.fromarray((GREY > 100).astype(np.uint16) * highest))
    for read in (read_label, read_image):
        with pytest.raises(DataError, match=rf"shallow.png: a 16-bit file whose values end at {highest}"):
            read(path)
    assert not read_label(save(tmp_path / "black.png", Image.fromarray(np.zeros((4, 4), np.uint16)))).any()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_in_the_alpha_channel_is_no_whole_image(tmp_path, mode):
    white = Image.new("L", (32, 20), 255)
    hidden = Image.merge("LA", (white, Image.fromarray(GREY))).convert(mode)
    with pytest.raises(DataError, match=r"hidden.png: one colour under an alpha channel"):
        read_label(save(tmp_path / "hidden.png", hidden))
    opaque = Image.merge("LA", (white, white)).convert(mode)
    assert (read_label(save(tmp_path / "whole.png", opaque)) == 255).all()
