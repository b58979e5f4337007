"""Fixtures of the command line: `bench` in this process, and what it works on."""

import json

import linbench
import pytest
import torch
from linbench.cli import main
from safetensors.torch import save_file


class Bench:
    """Runs `bench` in this process, away from the user's folders, and keeps what it said."""

    def __init__(self, capsys, home):
        self.capsys = capsys
        self.home = home
        self.results = home / "results"
        self.code = self.out = self.err = None

    def __call__(self, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        self.code = stop.value.code or 0
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.out + self.err
        return self

    def evaluate(self, photos, weights, *more):
        masks = ("--masks", f"DISCS={photos}", "--frame", 64)
        return self("run", "sam-hq", "-b", "rwkvsam-t", "--weights", weights, *masks, *more)

    @property
    def error(self):
        """The one line that begins with `error:`."""
        assert self.code != 0
        lines = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0], "nothing comes after the error"
        return lines[0]

    def rows(self):
        """Status by backbone of the stored rows."""
        stored = [json.loads(path.read_text()) for path in (self.results / "runs").rglob("*.json")]
        return {row["cell"]["backbone"]: row["status"] for row in stored}


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINBENCH_DATA", raising=False)
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    return Bench(capsys, tmp_path)


@pytest.fixture
def photos(draw_discs, tmp_path):
    return draw_discs(tmp_path / "photos", "im", "gt", 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of the system rwkvsam-t: random, but whole."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "rwkvsam-t.safetensors"
    state = linbench.create_system("rwkvsam-t").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path
