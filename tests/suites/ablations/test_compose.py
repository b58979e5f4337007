"""A suite of other suites: one plan, each row once, nothing measured before all can be meant."""

import pytest
from linbench.errors import UsageError
from linbench.results.schema import Cell, Row
from linbench.results.store import Store
from linbench.suites.ablations.compose import Composite, Part
from linbench.suites.base import Event


class Counting:
    """A suite whose options are the values it gives rows for; it refuses negative ones."""

    name, summary = "counting", ""

    def __init__(self):
        self.measured = []

    def plan(self, options):
        if min(options) < 0:
            raise UsageError("a negative value")
        return [Cell("counting", f"n{value}", {}) for value in options]

    def run(self, options, *, store, progress=None, resume=True):
        for cell in self.plan(options):
            row = store.done(cell) if resume else None
            if row is None:
                progress(Event(0, len(options), f"measuring {cell.backbone}"))
                self.measured.append(cell.backbone)
                row = Row(cell, "ok", {"value": 1.0})
                store.write(row)
            yield row


class Both(Composite):
    name, summary = "both", ""

    def __init__(self, suite):
        self.suite = suite

    def parts(self, options):
        return [Part(self.suite, values) for values in options]


@pytest.fixture
def counting():
    return Counting()


def test_each_row_comes_once_and_is_counted_over_all_parts(counting, tmp_path):
    store, events = Store(tmp_path), []
    rows = list(Both(counting).run([(1, 2), (2, 3)], store=store, progress=events.append))
    assert [row.cell.backbone for row in rows] == ["n1", "n2", "n3"]
    assert [cell.backbone for cell in Both(counting).plan([(1, 2), (2, 3)])] == ["n1", "n2", "n3"]
    assert counting.measured == ["n1", "n2", "n3"]
    assert [(event.done, event.total) for event in events] == [(0, 3), (1, 3), (2, 3)]


def test_finished_parts_are_not_measured_again(counting, tmp_path):
    store = Store(tmp_path)
    list(Both(counting).run([(1,)], store=store))
    assert len(list(Both(counting).run([(1,), (2,)], store=store))) == 2
    assert counting.measured == ["n1", "n2"]


def test_a_part_that_cannot_be_meant_is_told_before_another_is_measured(counting, tmp_path):
    with pytest.raises(UsageError, match="a negative value"):
        list(Both(counting).run([(1,), (-1,)], store=Store(tmp_path)))
    assert counting.measured == []
