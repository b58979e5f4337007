"""Which image files are meant: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import DataError, UsageError
from ..data.decode import IMAGE_SUFFIXES

SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff")


def find_images(sources: Sequence[str], *, out: Path) -> list[Path]:
    """Files that the sources name, in their order, each once.

    A file counts whatever its suffix is and whether or not it is there; of a folder the image files in it, of a
    pattern (`*`, `?`, `[...]`, `**`) the image files that match.

    Args:
        sources: Files, folders and patterns.
        out: Where results will be written.

    Raises:
        UsageError: No source, two images would write the same results, or results would lie among the images.
        DataError: A folder without images, or a pattern that matches none.
    """
    if not sources:
        raise UsageError("no image given; name files, folders or patterns such as 'photos/*.jpg'")
    images = list(dict.fromkeys(path for source in sources for path in _expanded(source)))
    by_stem: dict[str, Path] = {}
    for path in images:
        other = by_stem.setdefault(path.stem, path)
        if other != path:
            raise UsageError(
                f"{other} and {path} would write the same files under {out}; give them to runs of their own with --out"
            )
        if path.parent.resolve() == out.resolve():
            raise UsageError(f"{path} lies in the results' folder; give another one with --out")
    return images


def _expanded(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        found = _pictures(path.iterdir())
        if not found:
            raise DataError(f"no images ({', '.join(SUFFIXES)}) in {path}")
        return found
    if path.exists() or not glob.has_magic(source):
        return [path]
    # Path.glob takes no absolute patterns.
    found = _pictures(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    if not found:
        raise DataError(f"no image matches '{source}'")
    return found


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
