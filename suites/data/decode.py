"""Read one image or one mask file, whatever its mode, or say which file is bad and why."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ...errors import DataError

Pixels = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N", "I"}


def read_image(path: Path, content: bytes | None = None, *, upright: bool = True) -> Pixels:
    """Pixels of an image as RGB, `[H, W, 3]`, turned upright by its EXIF tag.

    Greyscale, palette, CMYK, alpha and 16-bit files are converted (alpha is dropped, 16 bits become the upper 8).

    Args:
        path: The file; with `content`, only its name in messages.
        content: The file's bytes, where they lie elsewhere.
        upright: False leaves the pixels as they are stored, whatever the tag says.

    Raises:
        DataError: The file is missing, truncated, no image, or of a mode without a meaning as RGB.
    """
    picture = _load(path, content, upright=upright)
    if picture.mode in _SIXTEEN_BIT:
        return np.repeat(_upper_byte(picture, path)[..., None], 3, 2)
    if picture.mode == "F":
        raise DataError(f"{path}: a floating-point image; expected 8 or 16 bits a channel")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"))


def read_label(path: Path) -> Pixels:
    """Grey values of a mask file, 0..255, `[H, W]`.

    A mask of several equal channels counts as one; an alpha channel beside them is ignored.

    Raises:
        DataError: The file is missing, truncated, no image, coloured, in its alpha channel alone, or 0/1
            in place of 0..255.
    """
    picture = _load(path)
    if picture.mode in _SIXTEEN_BIT:
        label = _upper_byte(picture, path)
    elif picture.mode in {"1", "L"}:
        label = np.array(picture.convert("L"))
    elif picture.mode in {"P", "PA", "LA", "RGB", "RGBA"}:
        pixels = np.array(picture.convert("RGBA"))
        colour, alpha = pixels[..., :3], pixels[..., 3]
        if np.ptp(colour) == 0 < np.ptp(alpha):
            raise DataError(f"{path}: one colour under an alpha channel that varies; expected the mask as grey values")
        if (colour != colour[..., :1]).any():
            raise DataError(f"{path}: a coloured mask; expected one channel, or several equal ones")
        label = np.ascontiguousarray(colour[..., 0])
    else:
        raise DataError(f"{path}: a mask of mode {picture.mode}; expected 8-bit grey")
    if label.max(initial=0) == 1:
        raise DataError(f"{path}: mask values are 0 and 1; expected 0..255 (HRSOD keeps such masks in masks_max255)")
    return label


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as `read_image` returns it, from the file's header alone.

    Raises:
        DataError: The file is missing or no image.
    """
    with _reporting(path), Image.open(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(_ORIENTATION, 1) in _TURNED
    return (width, height) if turned else (height, width)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(path: Path, content: bytes | None = None, *, upright: bool = True) -> Image.Image:
    with _reporting(path), Image.open(path if content is None else io.BytesIO(content)) as picture:
        picture.load()
        turned = upright and picture.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(picture) if turned else picture.copy()


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: unreadable image ({error})") from error


def _upper_byte(picture: Image.Image, path: Path) -> Pixels:
    values = np.array(picture)
    highest = values.max(initial=0)
    if values.min(initial=0) < 0 or highest > 65535:
        raise DataError(f"{path}: 32-bit values; expected 8 or 16 bits a channel")
    if 0 < highest < 256:  # the upper bytes would be black everywhere
        raise DataError(f"{path}: a 16-bit file whose values end at {highest}; expected 0..65535, or an 8-bit file")
    return (values >> 8).astype(np.uint8)


def read_rgb_codes(path: Path) -> npt.NDArray[np.int32]:
    """Segment ids of a COCO panoptic image, `R + 256 G + 65536 B`, `[H, W]`.

    Raises:
        DataError: The file is missing, truncated or not RGB.
    """
    picture = _load(path)
    if picture.mode != "RGB":
        raise DataError(f"{path}: a segment image of mode {picture.mode}; expected RGB")
    red, green, blue = np.moveaxis(np.array(picture).astype(np.int32), 2, 0)
    return np.asarray(red + 256 * green + 65536 * blue, np.int32)


def read_class_ids(path: Path) -> npt.NDArray[np.int32]:
    """Values of an annotation whose one channel holds class ids, `[H, W]`; of a palette image, the indices.

    Raises:
        DataError: The file is missing, truncated, or has more than one channel.
    """
    picture = _load(path)
    if picture.mode not in {"1", "L", "P"} | _SIXTEEN_BIT:
        raise DataError(f"{path}: an annotation of mode {picture.mode}; expected one channel that holds class ids")
    return np.array(picture).astype(np.int32)
