import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from linbench.results import provenance
from linbench.results.provenance import collect, device_name
from linbench.results.schema import Cell, Row


def test_it_is_json_and_names_versions_machine_and_flags():
    facts = collect()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["torch"]["threads"] == torch.get_num_threads()
    assert facts["cpu"]["cores_logical"] >= 1
    assert facts["device"] == {"type": "cpu", "name": facts["cpu"]["model"]}
    assert facts["gpus"]["devices"] or facts["gpus"]["reason"]


def test_it_names_no_host_user_or_folder(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    facts = collect()
    text = json.dumps(facts)
    assert platform.node() not in text.split('"')
    assert getpass.getuser() not in text.split('"')
    assert str(Path.home()) not in text
    assert str(Path(provenance.__file__).parents[1]) not in text
    assert facts["environment"]["OMP_NUM_THREADS"] == "2"


def git(folder, *command):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True, text=True).stdout


def test_the_commit_and_its_dirty_flag(tmp_path):
    assert provenance._commit(tmp_path)["reason"] == "installed, not a git checkout"
    git(tmp_path, "init", "-q")
    assert provenance._commit(tmp_path)["commit"] is None
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert provenance._commit(tmp_path) == {"commit": head, "dirty": False}
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "row.json").write_text("{}")
    assert provenance._commit(tmp_path)["dirty"] is False
    (tmp_path / "new.py").write_text("2")
    assert provenance._commit(tmp_path)["dirty"] is True


def test_a_machine_without_git_gives_the_reason(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert provenance._commit(tmp_path)["reason"] == "git rev-parse: git is not installed"


def test_flags_set_through_the_new_precision_switch_do_not_break_it():
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the old precision flags only")
    code = (
        "import torch; from linbench.results.provenance import collect\n"
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'\n"
        "print(collect()['torch']['fp32_precision']['cuda.matmul'])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "tf32\n"


def test_the_device_of_a_row():
    cell = Cell("latency", "vit-s", {"device": "cuda"})
    assert device_name(Row(cell, "ok", provenance={"device": {"type": "cuda", "name": "GPU A"}})) == "GPU A"
    assert device_name(Row(cell, "ok")) == "cuda"
    assert device_name(Row(Cell("latency", "vit-s"), "ok")) == "unknown device"


def test_importing_the_folder_is_cheap_and_silent():
    code = (
        "import sys, linbench.results.store, linbench.results.reporting.report\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
