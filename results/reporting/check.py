"""Whether the tables and figures in a folder are those that its rows make."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from pathlib import Path

from ..drawing.canvas import FORMATS
from ..drawing.marks import is_sealed, told_digest, told_seal
from ..store import Store
from .report import ReportOptions, make_report
from .what_to_run import COMMANDS, how_to_make

RELATIVE = 1e-9
_TABLES = (".md", ".csv", ".tex")
_SCORING = "gallery-"


def check_report(store: Store, folder: Path, options: ReportOptions | None = None) -> tuple[list[str], list[str]]:
    """Make the report again in a temporary folder and compare.

    Tables in Markdown and LaTeX must be equal byte for byte. In CSV, which holds all digits, numbers may differ by one
    part in 10^9, as sums do between processors. A picture's bytes depend on the release of matplotlib and its fonts, so
    of pictures the digest of what is drawn is compared, which every file carries; the seal of its other bytes, which it
    carries as well, tells whether it was changed after it was written. Contact sheets that suites draw while they score
    are looked at for their seal only.

    Args:
        store: The rows.
        folder: Holds `tables/` and `figures/`.
        options: As the report was made with.

    Returns:
        A line for each table and figure that differs, is missing or has no rows; and one for each file and row of the
        store that was left out.
    """
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        report = make_report(store, made, options)
        names = [path.relative_to(made) for path in report.paths]
        faults = [fault for name in names if (fault := _difference(made / name, folder / name, name))]
    there = [path.relative_to(folder) for path in _owned(folder)]
    faults += [f"{name.as_posix()}: no rows make it{_advice(name)}" for name in there if name not in names]
    return [*faults, *_changed_sheets(folder)], report.problems


def _changed_sheets(folder: Path) -> list[str]:
    """A line for each contact sheet whose seal is not that of its bytes; those written without one are passed over."""
    changed = []
    for path in sorted((folder / "figures").glob(f"{_SCORING}*.png")):
        data = path.read_bytes()
        if told_seal(data) and not is_sealed(data):
            changed.append(f"figures/{path.name}: was changed after it was written; score again, or remove it")
    return changed


def _owned(folder: Path) -> list[Path]:
    tables = [path for path in sorted((folder / "tables").glob("*")) if path.suffix in _TABLES]
    pictures = [path for path in sorted((folder / "figures").glob("*")) if path.suffix.lstrip(".") in FORMATS]
    return [*tables, *(path for path in pictures if not path.name.startswith(_SCORING))]


def _advice(name: Path) -> str:
    kind = name.parts[0].removesuffix("s")
    what = f"{kind} {name.stem.removeprefix(kind).partition('-')[0]}"
    return f"; run {how_to_make(what)}, or remove it" if what in COMMANDS else "; remove it"


def _difference(made: Path, committed: Path, name: Path) -> str | None:
    try:
        ours, theirs = made.read_bytes(), committed.read_bytes()
    except FileNotFoundError:
        return f"{name.as_posix()}: missing; `bench report` writes it"
    except OSError as error:
        return f"{name.as_posix()}: unreadable ({error.strerror})"
    if ours == theirs:
        return None
    if name.suffix.lstrip(".") in FORMATS:
        return _picture_difference(ours, theirs, name)
    if name.suffix == ".csv":
        return None if _same_csv(ours, theirs) else f"{name.as_posix()}: differs from what its rows make"
    lines = zip(ours.splitlines(), theirs.splitlines(), strict=False)
    first = next((number for number, (one, other) in enumerate(lines, 1) if one != other), None)
    place = "at its end" if first is None else f"from line {first} on"
    return f"{name.as_posix()}: differs {place} from what its rows make"


def _picture_difference(made: bytes, committed: bytes, name: Path) -> str | None:
    told = told_digest(committed)
    if told is None:
        return f"{name.as_posix()}: tells no digest of its data; `bench report` draws it anew"
    if told_digest(made) != told:
        return f"{name.as_posix()}: shows other data than its rows"
    if told_seal(committed) is None:
        return f"{name.as_posix()}: carries no seal of its bytes; `bench report` draws it anew"
    return None if is_sealed(committed) else f"{name.as_posix()}: was changed after it was written; run `bench report`"


def _same_csv(ours: bytes, theirs: bytes) -> bool:
    try:
        tables = [list(csv.reader(io.StringIO(text.decode()))) for text in (ours, theirs)]
    except (UnicodeDecodeError, csv.Error):
        return False
    if [len(line) for line in tables[0]] != [len(line) for line in tables[1]]:
        return False
    pairs = (pair for lines in zip(*tables, strict=True) for pair in zip(*lines, strict=True))
    return all(one == other or _close(one, other) for one, other in pairs)


def _close(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=RELATIVE)
    except ValueError:
        return False
