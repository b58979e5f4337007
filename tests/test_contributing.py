"""The recipes of CONTRIBUTING.md, followed word by word in a copy of the package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("backbones", "heads", "kernels", "results", "suites", "tests/backbones")
BLOCK = re.compile(r"^```(?:python|toml)\n# (?P<head>[^\n]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INSERT = re.compile(r"(?P<path>\S+), below `(?P<anchor>.+)`")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "runs", "tables", "figures", "demo_weights")


def run(code_or_arguments, folder):
    command = code_or_arguments if isinstance(code_or_arguments, list) else ["-c", code_or_arguments]
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def recipes():
    """Heading line and body of every block that says where it goes."""
    return [(match["head"], match["body"]) for match in BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text())]


@pytest.fixture(scope="module")
def followed(recipes, tmp_path_factory):
    """A folder with a copy of the package in which every recipe has been followed."""
    home = tmp_path_factory.mktemp("contributing")
    package = home / "linbench"
    for part in PARTS:
        shutil.copytree(ROOT / part, package / part, ignore=LEFT_OUT)
    for file in (*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "tests" / "conftest.py"):
        shutil.copy(file, package / file.relative_to(ROOT))
    for head, body in recipes:
        if head == "check":
            continue
        insertion = INSERT.fullmatch(head)
        path = package / (insertion["path"] if insertion else head)
        if insertion:
            text, anchor = path.read_text(), insertion["anchor"] + "\n"
            assert text.count(anchor) == 1, f"{path.name} has no single line '{insertion['anchor']}'"
            path.write_text(text.replace(anchor, anchor + body))
        else:
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
    return home


def test_every_recipe_adds_a_file_and_a_registry_line(recipes):
    heads = [head for head, _ in recipes]
    assert heads.count("check") == 5
    assert sum(INSERT.fullmatch(head) is not None for head in heads) == 5


def test_the_checks_of_the_recipes_hold(recipes, followed):
    checks = [body for head, body in recipes if head == "check"]
    own = "import linbench, pathlib\nassert pathlib.Path(linbench.__file__).parent.parent == pathlib.Path.cwd()\n"
    listing = (
        "import json\nfrom linbench.suites.inventory import inventory\n"
        "print(json.dumps([[list(r.values())[0] for r in inventory(w)] for w in ('backbones', 'suites', 'kernels')]))\n"
    )
    said = run(own + "\n".join([*checks, listing]), followed)
    assert all(f'"{name}"' in said for name in ("poolnet-t", "sizes", "moving_sum"))


def test_the_new_backbone_is_tested_as_soon_as_it_is_registered(followed):
    tests = ["linbench/tests/backbones", "-k", "poolnet-t", "-q", "-p", "no:cacheprovider"]
    said = run(["-m", "pytest", *tests], followed)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 6


def test_the_recipes_are_in_the_style_of_the_house(recipes, followed):
    pytest.importorskip("ruff", reason="ruff is not installed (it is in the extra [test])")
    files = [f"linbench/{head}" for head, _ in recipes if head.endswith(".py")]
    run(["-m", "ruff", "check", "--no-cache", *files], followed)
    run(["-m", "ruff", "format", "--no-cache", "--check", *files], followed)
