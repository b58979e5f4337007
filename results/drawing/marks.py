"""What a figure's file carries about itself: the digest of what is drawn in it, and a seal of its own bytes."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

_DIGEST = re.compile(rb"linbench data sha256 ([0-9a-f]{64})")
_SEAL = re.compile(rb"linbench seal sha256 ([0-9a-f]{64})")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = 12  # bytes of the chunk that ends a PNG file
_PDF = b"%PDF"


def digest_mark(digest: str) -> str:
    """The words around a digest in a figure's file, the same in every format."""
    return f"linbench data sha256 {digest}"


def told_digest(data: bytes) -> str | None:
    """The digest that the bytes of a figure's file carry; None where they tell none."""
    return _told(_DIGEST, data)


def sealed(data: bytes) -> bytes:
    """The bytes of a PNG, SVG or PDF file with a seal: the SHA-256 of all others, as a comment of its format."""
    end = len(data) - _PNG_END if data.startswith(_PNG) else len(data)
    return data[:end] + _seal(data, hashlib.sha256(data).hexdigest()) + data[end:]


def told_seal(data: bytes) -> str | None:
    """The seal that the bytes carry; None where they carry none."""
    return _told(_SEAL, data)


def is_sealed(data: bytes) -> bool:
    """Whether the bytes carry a seal that was made of the others, so that nothing was changed since."""
    told = told_seal(data)
    if told is None:
        return False
    before, _, after = data.partition(_seal(data, told))
    return hashlib.sha256(before + after).hexdigest() == told


def _told(mark: re.Pattern[bytes], data: bytes) -> str | None:
    found = mark.search(data)
    return found.group(1).decode() if found else None


def _seal(data: bytes, digest: str) -> bytes:
    """The seal as it stands in a file that begins like `data`."""
    words = f"linbench seal sha256 {digest}".encode()
    if data.startswith(_PNG):
        chunk = b"tEXtSeal\0" + words
        return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"%% %s\n" % words if data.startswith(_PDF) else b"<!-- %s -->\n" % words
