"""The wheel holds every source file and nothing else, and importing the package is cheap and silent."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("backbones", "heads", "kernels", "results", "suites")
OUTPUT = ("results/runs/", "results/tables/", "results/figures/", "results/tiles/")
HEAVY = {"torch", "timm", "numpy", "numba", "pandas", "matplotlib", "cv2", "accelerate", "typer", "rich"}


def sources():
    """Files of the checkout that git tracks or would add."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{ROOT} is no git checkout, so there is no list of sources to compare with")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def belongs_in_the_wheel(name):
    path = PurePosixPath(name)
    if len(path.parts) == 1:
        return path.suffix == ".py" or name == "py.typed"
    return path.parts[0] in FOLDERS and not name.startswith(OUTPUT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel needs setuptools 77 or newer")
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", out]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_the_sources_and_nothing_else(wheel):
    expected = {f"linbench/{name}" for name in sources() if belongs_in_the_wheel(name)}
    assert {name for name in wheel if ".dist-info/" not in name} == expected


def test_wheel_installs_one_name_and_one_command(wheel):
    names = {PurePosixPath(name).parts[0] for name in wheel}
    (info,) = names - {"linbench"}
    assert info.startswith("linbench-")
    assert wheel[f"{info}/entry_points.txt"].decode().split() == [
        "[console_scripts]",
        "bench",
        "=",
        "linbench.cli:main",
    ]
    assert any(name.startswith(f"{info}/licenses/LICENSE") for name in wheel)


def python(code):
    """Run code in a new interpreter, away from the checkout, whose folders would shadow modules."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done


def test_import_is_silent_and_loads_nothing_heavy():
    done = python(
        "import sys\nbefore = set(sys.modules)\nimport linbench\n"
        "linbench.list_backbones(); linbench.list_suites(); linbench.backbone_spec('vit-s')\n"
        f"loaded = sorted({HEAVY} & (set(sys.modules) - before))\nassert not loaded, loaded"
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["latency", "--help"], ["list", "backbones"]])
def test_help_and_listing_do_not_load_torch(arguments):
    done = python(
        "import sys\nfrom linbench.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    assert "rwkvsam-s" in done.stdout or "bench" in done.stdout
    assert done.stderr == ""


def test_every_public_name_resolves():
    import linbench

    for name in linbench.__all__:
        assert getattr(linbench, name) is not None
    assert set(linbench.__all__) <= set(dir(linbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = linbench.nothing
