"""Rows of several devices as if they were of one, for who asks for it: every label then says the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..provenance import device_name
from ..schema import Cell, Row


def mix_devices(rows: Sequence[Row]) -> list[Row]:
    """The rows under one joint device name, which numbers the devices; each cell says by `machine` which it is from.

    Rows of one device alone stay as they are. Numbers of threads are told with the machine, so that a CPU's rows may
    stand beside a GPU's, which have none; a cell's `machine` tells its own where one device's rows differ in it.
    """
    threads: dict[str, set[int]] = {}
    for row in rows:
        threads.setdefault(device_name(row), set()).update(_threads(row))
    names = sorted(threads)
    if len(names) < 2:
        return list(rows)
    told = [f"{place} {_with(name, sorted(threads[name]))}" for place, name in enumerate(names, 1)]
    joint = f"several devices, mixed as asked for: {'; '.join(told)}"
    moved = []
    for row in rows:
        name = device_name(row)
        machine: int | str = names.index(name) + 1
        if len(threads[name]) > 1 and _threads(row):
            machine = _with(str(machine), _threads(row))
        moved.append(_moved(row, machine, joint))
    return moved


def _threads(row: Row) -> list[int]:
    count = row.cell.params.get("threads")
    return [count] if isinstance(count, int) else []


def _with(name: str, threads: Sequence[int]) -> str:
    unit = "thread" if threads == [1] else "threads"
    return f"{name}, {' or '.join(map(str, threads))} {unit}" if threads else name


def _moved(row: Row, machine: int | str, joint: str) -> Row:
    params = {name: value for name, value in row.cell.params.items() if name not in ("device", "threads")}
    device = {**(row.provenance.get("device") or {}), "name": joint}
    cell = Cell(row.cell.suite, row.cell.backbone, {**params, "machine": machine})
    return replace(row, cell=cell, provenance={**row.provenance, "device": device})
