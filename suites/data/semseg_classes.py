"""Class tables: which value of an annotation is which class, and which values do not count."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import DataError

IGNORED = 255
"""The class number of pixels that are neither trained on nor scored."""
ADE20K_CLASSES = Path(__file__).with_name("ade20k_classes.tsv")
VOID = ("void", "unlabeled", "unlabelled", "ignore", "ignored")

_MOST = 254
_VALUES = 1 << 16
_UNKNOWN = -1


@dataclass(frozen=True)
class ClassTable:
    """Classes in the order of their numbers 0, 1, ...

    Attributes:
        names: Name of each class.
        ids: Value of each class in annotation files; gaps are fine.
        ignored: Values that stand for no class. 255 does so besides, unless it is a class.
        source: File it was read from, for messages.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    ignored: tuple[int, ...]
    source: str

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, values: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """Class numbers of annotation values `[H, W]`; 255 where a value is ignored.

        Raises:
            DataError: A value is neither a class nor ignored.
        """
        inside = (values >= 0) & (values < _VALUES)
        numbers = self._lookup()[np.where(inside, values, 0)]
        unknown = ~inside | (numbers == _UNKNOWN)
        if unknown.any():
            strange = np.unique(values[unknown])
            shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
            raise DataError(
                f"values {shown} are no classes of {self.source} ({len(self)} classes, ids {min(self.ids)} to "
                f"{max(self.ids)}); mend the annotation or the table"
            )
        return numbers.astype(np.uint8)

    def ignoring_zero(self) -> ClassTable:
        """The same table, with 0 ignored where it is no class: ADE20K's `reduce_zero_label`."""
        if 0 in self.ids or 0 in self.ignored:
            return self
        return ClassTable(self.names, self.ids, (*self.ignored, 0), self.source)

    def _lookup(self) -> npt.NDArray[np.int16]:
        table = np.full(_VALUES, _UNKNOWN, np.int16)
        table[[IGNORED, *self.ignored]] = IGNORED
        table[list(self.ids)] = np.arange(len(self.ids))
        return table


def read_classes(path: Path) -> ClassTable:
    """Read a table with the columns `id` and `name`, separated by tabs (or by commas, in a `.csv` file).

    A class with 1 in a column `ignore` does not count; nor does one that is called void, unlabeled, unlabelled, ignore
    or ignored. The others are numbered from 0 in the file's order.

    Raises:
        DataError: It is missing, has no such columns, an id that is no number or occurs twice, no class or too many.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="," if path.suffix.lower() == ".csv" else "\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"class table {path} cannot be read ({error})") from error
    if not rows or not {"id", "name"} <= set(rows[0]):
        raise DataError(f"class table {path} has no columns id and name, separated by tabs; or it holds no class")
    classes: dict[int, str] = {}
    ignored: list[int] = []
    for line, row in enumerate(rows, 2):
        text, name = (row["id"] or "").strip(), (row["name"] or "").strip()
        if not text.isdecimal() or int(text) >= _VALUES or not name:
            raise DataError(
                f"class table {path}, line {line}: id {text!r}, name {name!r}; expected 0..65535 and a name"
            )
        if int(text) in classes or int(text) in ignored:
            raise DataError(f"class table {path}, line {line}: id {text} occurs twice")
        if (row.get("ignore") or "").strip() == "1" or name.lower() in VOID:
            ignored.append(int(text))
        else:
            classes[int(text)] = name
    if not 2 <= len(classes) <= _MOST:
        raise DataError(f"class table {path} has {len(classes)} classes that count; expected 2 to {_MOST}")
    return ClassTable(tuple(classes.values()), tuple(classes), tuple(ignored), str(path))
