"""Rows of several devices as if they were of one, for who asks for it: every label then says the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..provenance import device_name
from ..schema import Cell, Row
from ..words import counted


def mix_devices(rows: Sequence[Row]) -> list[Row]:
    """The rows under one joint device name, which numbers the devices; each cell says by `machine` which it is from.

    Rows of one device alone stay as they are. A number of threads is part of what a machine is here, so that a CPU's
    rows may stand beside a GPU's, which have none.
    """
    names = sorted({_machine(row) for row in rows})
    if len(names) < 2:
        return list(rows)
    joint = "several devices, mixed as asked for: " + "; ".join(
        f"{place} {name}" for place, name in enumerate(names, 1)
    )
    return [_moved(row, names.index(_machine(row)) + 1, joint) for row in rows]


def _machine(row: Row) -> str:
    threads = row.cell.params.get("threads")
    return device_name(row) + (f", {counted(threads, 'thread')}" if threads is not None else "")


def _moved(row: Row, machine: int, joint: str) -> Row:
    params = {name: value for name, value in row.cell.params.items() if name not in ("device", "threads")}
    device = {**(row.provenance.get("device") or {}), "name": joint}
    cell = Cell(row.cell.suite, row.cell.backbone, {**params, "machine": machine})
    return replace(row, cell=cell, provenance={**row.provenance, "device": device})
