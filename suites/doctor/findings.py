"""What `bench doctor` found: records to read, and faults that stop a default command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..inventory import Records

RUN = "bench run sam-hq --backbone rwkvsam-s"
LATENCY = "bench latency --res 512..2048 --backbone rwkvsam-s"
REPORT = "bench report"
DEFAULT_COMMANDS = (RUN, LATENCY, REPORT)


@dataclass(frozen=True)
class Fault:
    """Something that makes a default command fail.

    Attributes:
        what: What is wrong.
        mend: What to do, one command where one is enough.
        stops: The default commands that it stops.
    """

    what: str
    mend: str
    stops: tuple[str, ...] = DEFAULT_COMMANDS

    def __str__(self) -> str:
        return f"{self.what}; to mend it: {self.mend}"


@dataclass
class Diagnosis:
    """What was found.

    Attributes:
        sections: Records to print, by title.
        faults: What would make a default command fail.
    """

    sections: dict[str, Records] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, title: str, records: Records, faults: Iterable[Fault] = ()) -> None:
        """Take the records of one section and the faults that they show."""
        self.sections[title] = records
        self.faults += faults

    def commands(self) -> Records:
        """The default commands, and whether they would work."""
        return [
            {
                "command": command,
                "works": "no" if (stopped := [f for f in self.faults if command in f.stops]) else "yes",
                "stopped by": "; ".join(fault.what for fault in stopped),
            }
            for command in DEFAULT_COMMANDS
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "sections": self.sections,
            "commands": self.commands(),
            "faults": [str(fault) for fault in self.faults],
        }


def grouped(records: Records, key: str) -> Records:
    """Neighbours that share everything but `key` as one record, for a person to read."""
    groups: list[tuple[dict[str, Any], list[str]]] = []
    for record in records:
        rest = {name: value for name, value in record.items() if name != key}
        if groups and groups[-1][0] == rest:
            groups[-1][1].append(record[key])
        else:
            groups.append((rest, [record[key]]))
    return [{key: textwrap.fill(", ".join(names), 40, break_on_hyphens=False), **rest} for rest, names in groups]


def filled(records: Records) -> Records:
    """The records without the columns that are empty in all of them."""
    names = {name for record in records for name, value in record.items() if value not in ("", None)}
    return [{name: value for name, value in record.items() if name in names} for record in records]
