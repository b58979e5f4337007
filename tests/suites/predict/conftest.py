"""Fixtures of `bench predict`: the command in this process, photographs, each system built once."""

import json

import pytest
from linbench.cli import main
from linbench.suites.predict import run as engine

FRAME = ("--frame", 64)


class Run:
    """Runs `bench predict` in this process and keeps what it said."""

    def __init__(self, capsys, home):
        self.capsys, self.home = capsys, home
        self.code = self.out = self.err = None

    def __call__(self, *arguments):
        with pytest.raises(SystemExit) as stop:
            main(["predict", *(str(argument) for argument in arguments), *map(str, FRAME)])
        self.code = stop.value.code or 0
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.out + self.err
        return self

    def record(self, stem="0", out="predictions"):
        return json.loads((self.home / out / f"{stem}.json").read_text())

    def states(self, *arguments):
        self(*arguments, "--json")
        return {row["image"]: row["state"] for row in json.loads(self.out)["images"]}


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "RESULTS"):
        monkeypatch.delenv(f"LINBENCH_{name}", raising=False)
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    return Run(capsys, tmp_path)


@pytest.fixture
def photos(draw_discs, tmp_path):
    return draw_discs(tmp_path / "photos", "im", "gt", 3) / "im"


@pytest.fixture(scope="module", autouse=True)
def one_system():
    """Build each system once for all tests; they would build the same one again and again."""
    built = {}

    def build(name, *, weights):
        return built.setdefault((name, weights), create(name, weights=weights))

    create = engine.create_system
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "create_system", build)
        yield
