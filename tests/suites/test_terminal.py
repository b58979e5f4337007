"""What a run shows: tables for a terminal and for a file, trainings that the clock ended."""

import io
import sys

import pandas as pd
from linbench.results.schema import Cell, Row
from linbench.results.tabling.tables import Table
from linbench.suites.terminal import _cut_short, _show_tables

TABLE = Table(
    title="Masks",
    caption="Data: demo.",
    columns=(("", "system"), ("", "in the paper"), ("DIS", "paper"), ("DIS", "measured")),
    cells=(("theirs", "only there", "80.5", "-"), ("ours", "-", "-", "[61.0, 62.0]")),
    frame=pd.DataFrame({"status": [None, "ok"]}),
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_shown_what_was_measured(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    _show_tables([TABLE])
    said = screen.getvalue()
    assert "ours" in said
    assert "[61.0, 62.0]" in said
    assert "only there" not in said
    assert "80.5" not in said


def test_a_file_gets_everything(capsys):
    _show_tables([TABLE])
    assert "| theirs |   only there |      80.5 |" in capsys.readouterr().out


def test_a_training_that_the_clock_ended_is_told():
    run = {"recipe": {"name": "demo", "distill": {"steps": 400}, "joint": {"steps": 700}}}
    cell = Cell("sam-hq", "rwkvsam-s", {})
    cut = Row(cell, "ok", provenance={"run": {**run, "steps": {"distill": 400, "joint": 39}}})
    assert _cut_short(cut) == "joint at step 39 of 700"
    assert _cut_short(Row(cell, "ok", provenance={"run": {**run, "steps": {"joint": 700}}})) == ""
    assert _cut_short(Row(cell, "ok")) == ""
