"""Backbones from outside: packages that register them, `package.module:function`, and broken ones that stop nothing."""

import importlib
import json
import os
import subprocess
import sys
import textwrap

import linbench
import pytest
import torch
from linbench.backbones.plugins import collect_plugins, describe_external
from linbench.backbones.registry import SPECS
from linbench.errors import UsageError

NET = '''
import torch.nn.functional as F
from linbench.backbones.base import Backbone, FeatureInfo, Features
from torch import nn


class Net(Backbone):
    """A patch embedding and nothing else."""

    def __init__(self, *, dim: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 32, stride=32)
        self.fine = nn.Conv2d(3, dim, 16, stride=16)
        self.feature_info = (FeatureInfo(dim, 16), FeatureInfo(dim, 32))
        self.pooled_channels = dim
        self.image_multiple = 32

    def forward(self, images):
        self.check_images(images)
        maps = self.fine(images), self.stem(images)
        return Features(maps, maps[-1].mean(dim=(2, 3)))


def build(dim=8):
    return Net(dim=dim)
'''
SPECIFICATION = """
from linbench.backbones import BackboneSpec

SPEC = BackboneSpec(
    "throwaway-s", "throwaway", "none", "throwaway.net:Net", {"dim": 16}, {"backbone": 61472}, "my thesis",
    strides=(16, 32), image_multiple=32, licence="MIT",
)


def more():
    return [
        BackboneSpec(f"throwaway-{size}", "throwaway", "none", "throwaway.net:Net", {"dim": dim}, source="my thesis")
        for size, dim in (("b", 32), ("l", 48))
    ]
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "throwaway-backbones"
version = "1.0"

[project.entry-points."linbench.backbones"]
small = "throwaway.specs:SPEC"
others = "throwaway.specs:more"

[tool.setuptools]
packages = ["throwaway"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that pip has installed a package with backbones into."""
    pytest.importorskip("setuptools", reason="building a package needs setuptools")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "throwaway").mkdir()
    for name, text in (("__init__.py", ""), ("net.py", NET), ("specs.py", SPECIFICATION)):
        (source / "throwaway" / name).write_text(text)
    (source / "pyproject.toml").write_text(PROJECT)
    command = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "--target",
        target,
        source,
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return target


def distribution(folder, name, entries, **modules):
    """A distribution as an installer leaves it: metadata, entry points, modules."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[linbench.backbones]\n" + "\n".join(entries) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(text))
    return folder


def python(*arguments, path, cwd):
    search = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search, "LINBENCH_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def bench(*arguments, path, cwd):
    return python("-c", "from linbench.cli import main; main()", *map(str, arguments), path=path, cwd=cwd)


# Installed packages


def test_the_python_api_has_the_backbones_of_an_installed_package(installed, tmp_path):
    code = """
    import linbench, torch
    assert {"throwaway-s", "throwaway-b", "throwaway-l"} <= set(linbench.list_backbones())
    assert linbench.backbone_spec("throwaway-s").licence == "MIT"
    images = torch.zeros(1, 3, 64, 96)
    assert linbench.create_backbone("throwaway-s")(images).maps[1].shape == (1, 16, 2, 3)
    assert linbench.create_classifier("throwaway-b", num_classes=5)(images).shape == (1, 5)
    assert "throwaway-l+sam" in linbench.list_systems()
    assert linbench.create_system("throwaway-s+sam").encode(images).image.shape == (1, 256, 4, 6)
    """
    done = python("-c", textwrap.dedent(code), path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_command_line_has_them(installed, tmp_path):
    listed = bench("list", "backbones", "--json", path=installed, cwd=tmp_path)
    records = {record["name"]: record for record in json.loads(listed.stdout)}
    assert records["throwaway-s"]["parameters"] == 61472
    assert records["throwaway-s"]["strides"] == [16, 32]
    assert listed.stderr == ""
    planned = bench(
        *("latency", "-b", "throwaway-s,throwaway.net:build", "--res", "64,128", "--dry-run", "--json"),
        *("--results", tmp_path / "results"),
        path=installed,
        cwd=tmp_path,
    )
    plan = [(record["backbone"], record["res"]) for record in json.loads(planned.stdout)]
    assert sorted(plan) == [(name, side) for name in ("throwaway-s", "throwaway.net:build") for side in (64, 128)]


@pytest.mark.slow
def test_worker_processes_find_them_under_a_relative_path_too(installed, tmp_path):
    done = bench(
        *("latency", "-b", "throwaway-s,throwaway.net:Net", "--res", "64", "--threads", 1, "--rounds", 1),
        *("--budget", 0.1, "--results", tmp_path / "results"),
        path=os.path.relpath(installed, tmp_path),
        cwd=tmp_path,
    )
    stored = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").rglob("*.json")]
    rows = {row["cell"]["backbone"]: (row["status"], row["error"]) for row in stored}
    for name in ("throwaway-s", "throwaway.net:Net"):
        assert name in rows, done.stderr
        assert rows[name][0] in {"ok", "unstable"}, rows[name]


BROKEN = {
    "absent": ("absent = not_there_at_all:SPEC", {}, "ModuleNotFoundError"),
    "raising": ("raising = raising_plug:SPEC", {"raising_plug": "raise RuntimeError('needs a\\nGPU')"}, "needs a"),
    "leaving": ("leaving = leaving_plug:SPEC", {"leaving_plug": "raise SystemExit(3)"}, "SystemExit"),
    "lacking": ("lacking = lacking_plug:SPEC", {"lacking_plug": ""}, "AttributeError"),
    "wrong": ("wrong = wrong_plug:SPEC", {"wrong_plug": "SPEC = 'vit'"}, "expected a BackboneSpec"),
    "empty": ("empty = empty_plug:specs", {"empty_plug": "def specs():\n    return []"}, "expected a BackboneSpec"),
    "clash": (
        "clash = clash_plug:SPEC",
        {"clash_plug": "from linbench.backbones import BackboneSpec as B\nSPEC = B('vit-s', 'x', 'x', 'x:y')"},
        "'vit-s' is taken by .vit:Vit",
    ),
    "twice": (
        "twice = twice_plug:SPECS",
        {"twice_plug": "from linbench.backbones import BackboneSpec as B\nSPECS = [B('tw', 'x', 'x', 'x:y')] * 2"},
        "'tw' is taken",
    ),
    "shouting": (
        "shouting = shouting_plug:SPEC",
        {"shouting_plug": "from linbench.backbones import BackboneSpec as B\nSPEC = B('../Evil', 'x', 'x', 'x:y')"},
        "no backbone name",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plug_in_is_one_line_that_names_its_distribution(tmp_path, monkeypatch, kind):
    entry, modules, said = BROKEN[kind]
    distribution(tmp_path, f"broken-{kind}", [entry], **modules)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    found = collect_plugins(SPECS)
    assert found.specs == {}
    (problem,) = found.problems
    assert problem.startswith(f"broken-{kind} ({entry}): ")
    assert said in problem
    assert "\n" not in problem


def test_broken_plug_ins_never_break_a_listing(installed, tmp_path):
    folder = tmp_path / "broken"
    for kind, (entry, modules, _) in BROKEN.items():
        distribution(folder, f"broken-{kind}", [entry], **modules)
    both = f"{installed}{os.pathsep}{folder}"
    done = bench("list", "backbones", path=both, cwd=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("throwaway-s", "vit-s", "rwkvsam-t"))
    warnings = done.stderr.splitlines()
    assert len(warnings) == len(BROKEN)
    assert all(line.startswith("warning: ") for line in warnings)
    unknown = bench("latency", "-b", "absent-s", "--res", "64", "--dry-run", path=both, cwd=tmp_path)
    assert unknown.returncode == 2
    assert "broken-absent" in unknown.stderr


# package.module:function


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a module `name` into the search path."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    describe_external.cache_clear()
    return write


@pytest.mark.parametrize("attribute", ["Net", "build"])
def test_a_function_or_class_is_a_backbone(mine, attribute):
    name = f"{mine('my_net', NET)}:{attribute}"
    spec = linbench.backbone_spec(name)
    assert (spec.name, spec.strides, spec.image_multiple) == (name, (16, 32), 32)
    module = linbench.create_backbone(name, dim=12)
    assert module(torch.zeros(1, 3, 64, 64)).pooled.shape == (1, 12)
    assert linbench.create_system(f"{name}+sam").encode(torch.zeros(1, 3, 64, 64)).image.shape == (1, 256, 4, 4)


@pytest.mark.parametrize("attribute", ["SPEC", "spec"])
def test_a_spec_or_a_function_that_returns_one_is_a_backbone(mine, attribute):
    mine("my_parts", NET)
    text = SPECIFICATION.replace("throwaway.net", "my_parts") + "\n\ndef spec():\n    return SPEC\n"
    name = f"{mine('my_specs', text)}:{attribute}"
    assert linbench.backbone_spec(name).name == name
    assert sum(p.numel() for p in linbench.create_backbone(name).parameters()) == 61472


def test_looking_at_a_backbone_does_not_shift_random_numbers(mine):
    name = f"{mine('my_random', NET)}:build"
    torch.manual_seed(0)
    first = linbench.create_backbone(name).stem.weight
    torch.manual_seed(0)
    assert torch.equal(first, linbench.create_backbone(name).stem.weight)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there_either", "cannot import 'my_bad:make' (ModuleNotFoundError"),
        ("1 / 0", "cannot import 'my_bad:make' (ZeroDivisionError"),
        ("def other(): ...", "cannot import 'my_bad:make' (AttributeError"),
        ("make = 3", "is a int; expected a function or class that builds a Backbone"),
        ("def make(dim): ...", "fails when it is called without arguments: TypeError"),
        ("def make():\n    raise OSError('no\\nfile')", "fails when it is called without arguments: OSError: no"),
        ("def make():\n    return 'net'", "returned a str; expected a linbench.backbones.base.Backbone"),
        ("from torch import nn\nmake = nn.Identity", "returned a Identity; expected"),
        ("from linbench.backbones.base import Backbone as make", "does not set feature_info and pooled_channels"),
    ],
)
def test_what_is_no_backbone_is_one_clear_line(mine, text, said):
    mine("my_bad", text)
    with pytest.raises(UsageError) as caught:
        linbench.create_backbone("my_bad:make")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there():
    with pytest.raises(UsageError, match="PYTHONPATH"):
        linbench.backbone_spec("surely.not.there:build")


def test_the_registry_itself_needs_no_plug_in_for_its_own_names(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("plug-ins were loaded")

    monkeypatch.setattr("linbench.backbones.registry._plugins", fail)
    assert linbench.backbone_spec("vit-s").name == "vit-s"
