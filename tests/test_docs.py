"""README and docs/ hold: every command in them works, every number in README is a stored one, every set is listed.

`HOW` says of each command how it is tried. A command that is in the documents and not in `HOW` fails a test, and so
does one that is in `HOW` and no longer in the documents.
"""

import dataclasses
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import linbench
import numpy as np
import pytest
import torch
import typer
from linbench.cli import app, main
from linbench.suites.data.datasets import DATASETS
from linbench.suites.data.demo import build
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```\w+\n# (\S+\.(?:py|toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(bench [^`\n]+)`")

SMALL = ("--frame", "64", "--limit", "1")
SHORT = (
    *("--set", "frame=64", "--set", "eval_frame=64", "--set", "precision=fp32", "--set", "loss.points=64"),
    *("--set", "augmentation.min_area=4", "--set", "distill.steps=1", "--set", "distill.images=1"),
    *("--set", "joint.steps=1", "--set", "joint.images=1", "--limit", "1"),
)


def run(*extra):
    """Executed, with these options added so that it is short."""
    return ("run", extra)


def parse(reason):
    """Its options are parsed and nothing runs, for this reason."""
    return ("parse", reason)


VENV = "python3 -m venv .venv && . .venv/bin/activate"
DRY = ("run", ("--dry-run",))
INSTALL = parse("`.ci/run` does the same in a fresh environment")
DOWNLOAD = parse("downloads official weights")
GPU = parse("needs a GPU and the whole data set")
MEASURED = parse("its parts are executed by tests/suites/latency")
ELSEWHERE = parse("executed by tests/suites/doctor")

# In this order: later ones read the rows of earlier ones.
HOW = {
    f"{VENV} && pip install -e .": INSTALL,
    f"{VENV} && pip install -e '.[test]' && pytest": INSTALL,
    f"{VENV} && pip install -e . && bench run sam-hq --backbone rwkvsam-s": INSTALL,
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu": INSTALL,
    "export PYTHONPATH=.": parse("the tests set it"),
    "bench doctor": ELSEWHERE,
    "bench doctor --brief": ELSEWHERE,
    "bench doctor --json": ELSEWHERE,
    "bench doctor --data /datasets": ELSEWHERE,
    "bench list datasets": run(),
    "bench list kernels": run(),
    "bench list recipes": run(),
    "bench run sam-hq --backbone rwkvsam-t --weights demo": run(*SMALL),
    "bench run sam-hq --backbone rwkvsam-s": run(*SHORT),
    "bench latency --res 256,512 --backbone rwkvsam-s,vit-s --budget 5": DRY,
    "bench latency --res 512..2048 --backbone rwkvsam-s,vit-s": DRY,
    "bench compare rwkvsam-s vit-s": MEASURED,
    "bench report": run(),
    "bench report --table 3": run(),
    "bench report --no-published": parse("executed by tests/results"),
    "bench report --html": parse("executed by tests/results"),
    "bench report --check": parse("executed by tests/results"),
    "bench predict photo.jpg --box 10,20,200,300": run("--frame", "64"),
    "bench run sam-hq -b rwkvsam-s --masks HORSE=photos/horse": DRY,
    "bench predict photo.jpg --point 120,80,1 --point 40,60,0": run("--frame", "64"),
    "bench predict photos --prompts prompts.json --out masks": run("--frame", "64"),
    "bench predict 'photos/*.jpg' --everything --points-per-side 16": run("--frame", "64"),
    "bench predict photo.jpg --box 10,20,200,300 --system sam-vit-b --weights official": DOWNLOAD,
    "bench data check dis-vd --data /datasets": run(),
    "bench data demo": run(),
    "bench data demo /tmp/demo --train-images 2000": parse("draws thousands of images"),
    "bench run sam-hq --system hq-sam-l --weights official --data /datasets --datasets coco "
    "--boxes vitdet_h.json": DOWNLOAD,
    "bench run sam-hq -b rwkvsam-s --weights mine.safetensors --data /datasets --datasets coco,dis-vd "
    "--boxes truth": DRY,
    "bench run sam-hq -b rwkvsam-s --masks HORSE=photos/horse --masks DOGS=photos/dogs": DRY,
    "bench run sam-hq -b rwkvsam-s --masks HORSE=photos/horse --train-masks DOGS=photos/dogs": DRY,
    "bench run sam-hq -b rwkvsam-s --weights mine.safetensors --masks HORSE=photos/horse": DRY,
    "bench latency --res 64,128 --backbone mynet:MyNet,vit-t --budget 1": DRY,
    "bench run sam-hq --backbone mynet:MyNet": DRY,
    "bench latency --res 512 --backbone timm:convnext_tiny": DRY,
    "bench latency --res 512..2048:512 -b vit-s --attention sdpa,eager": DRY,
    "bench latency --system rwkvsam-s --stage encoder,decoder,e2e --prompts 1,20": DRY,
    "bench latency -b rwkvsam-s,vit-s --batch 1,8,auto --dtype fp32,bf16": DRY,
    "bench latency -b vit-s --device cuda --compile none,default,max-autotune,graphs": GPU,
    "bench latency -b vit-s --aa": DRY,
    "bench latency -b vit-s --profile": MEASURED,
    "bench compare vit-s@attention=sdpa vit-s@attention=eager": MEASURED,
    "bench kernels --op bi_wkv,selective_scan": DRY,
    "bench kernels --op bi_wkv --shape T=4096,C=384 --threads 1,2": DRY,
    "bench run sam-hq -b rwkvsam-t --weights demo --protocol rwkvsam": DRY,
    "bench run sam-hq -b rwkvsam-t --weights demo --protocol hqsam": DRY,
    "bench run sam-hq -b rwkvsam-s --dry-run": run(),
    "bench run sam-hq -b rwkvsam-s,vrwkv-s,vim-s,vmamba-s": DRY,
    "bench run sam-hq -b rwkvsam-s --recipe demo": DRY,
    "bench run sam-hq -b rwkvsam-s --recipe mine.toml --set joint.lr=1e-4": DRY,
    "bench run sam-hq -b rwkvsam-s --data /datasets --recipe paper": parse("needs every set of the paper's mix"),
    "bench run model-stats": DRY,
    "bench run data-stats": DRY,
    "bench run ablation-fusion": DRY,
    "bench run ablation-encoder": DRY,
    "bench run ablation-distill": DRY,
    "bench train rwkvsam": DRY,
    "bench train rwkvsam --stages imagenet,distill --dry-run": run(),
    "bench train rwkvsam --size s --recipe paper --data /datasets --device cuda": GPU,
    "bench train distill": DRY,
    "bench train distill --student vit-t+sam --data photos --cache-embeddings --fp16": DRY,
    "bench train distill --student rwkvsam-s --teacher sam-vit-h --teacher-weights sam_vit_h_4b8939.pth --data sa-1b "
    "--cache-embeddings --recipe paper --dry-run": parse("needs SA-1B and SAM's weights"),
    "bench run classification -b rwkvsam-t,vit-t": DRY,
    "bench run classification -b rwkvsam-t,vit-t,vim-t,vrwkv-t": DRY,
    "bench run classification -b rwkvsam-s --data /datasets --recipe paper --device cuda --workers 12": GPU,
    "bench run classification -b vit-t --recipe classes.toml": DRY,
    "bench run ade20k -b rwkvsam-t,vit-t": DRY,
    "bench run ade20k -b rwkvsam-t,vit-t,vim-t": DRY,
    "bench run ade20k -b rwkvsam-s --data /datasets --recipe paper --backbone-weights in1k.pth --device cuda": GPU,
    "bench results ls": run(),
    "bench results ls --suite latency --status oom,failed": run(),
    "bench results show 4aeba0ee": parse("keys are those of one's own rows; executed by tests/results"),
    "bench results export rows.csv": run(),
    "bench results export rows.json --all": run(),
    "bench results export rows.parquet --suite latency": parse("needs the extra [parquet]; executed by tests/results"),
    "bench results gc --dry-run": run(),
    "bench results gc": run(),
    "bench compare monday/results tuesday/results": parse("executed by tests/results"),
    "bench weights list": run(),
    "bench weights get vmamba-s vit-s": DOWNLOAD,
    "bench weights check": run(),
    "bench weights check vit-s mine.pth": run(),
}


def commands():
    """Every command of the bash blocks, continued lines joined, comments and doubled blanks taken out."""
    found = {}
    for page in PAGES:
        for block in BASH.findall(page.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(re.sub(r"\s+# .*$", "", line).split())
                if command:
                    found.setdefault(command, page.name)
    return found


def arguments_of(command):
    return shlex.split(command.rpartition("&& ")[2].removeprefix("bench "))


def leaves(group, found):
    for command in group.commands.values():
        if hasattr(command, "commands"):
            leaves(command, found)
        else:
            command.callback = lambda **_: found.append(True)


def parsed(arguments):
    """Whether the arguments are ones that a command takes; nothing is run."""
    group, called = typer.main.get_command(app), []
    leaves(group, called)
    group.main(args=list(arguments), prog_name="bench", standalone_mode=False)
    return called == [True]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, draw_discs):
    """A folder with what the documents speak of: photographs, weights, data sets, the files whose text they show."""
    home = tmp_path_factory.mktemp("docs")
    random = np.random.default_rng(0)
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        (home / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(home / name), random.integers(0, 255, (320, 240, 3), dtype=np.uint8))
    for name in ("horse", "dogs"):
        draw_discs(home / "photos" / name, "im", "gt", 6)
    prompts = re.search(r"`prompts.json`: `(.*)`", (ROOT / "docs/pages/predict.md").read_text())[1]
    (home / "prompts.json").write_text(json.dumps(json.loads(prompts)))
    torch.manual_seed(0)
    state = linbench.create_system("rwkvsam-s").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, home / "mine.safetensors")
    torch.save(linbench.create_classifier("vit-s").state_dict(), home / "mine.pth")
    for page in PAGES:
        for name, body in FILE.findall(page.read_text("utf-8")):
            (home / name).write_text(body)
    return home


@pytest.fixture
def bench(sandbox, monkeypatch, one_thread, capsys):
    """Runs a command line of the documents in the sandbox and returns exit code and output."""
    few = {field.name: 2 for field in dataclasses.fields(build.DemoCounts)}
    monkeypatch.setattr(build, "DemoCounts", functools.partial(build.DemoCounts, **few))
    monkeypatch.chdir(sandbox)
    monkeypatch.syspath_prepend(sandbox)
    inherited = [str(sandbox), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, inherited)))
    monkeypatch.delenv("LINBENCH_DATA", raising=False)
    monkeypatch.setenv("LINBENCH_RESULTS", str(sandbox / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(sandbox / "cache"))
    datasets = build.build_demo(sandbox / "datasets", workers=1)

    def start(arguments):
        with pytest.raises(SystemExit) as stop:
            main([argument.replace("/datasets", str(datasets)) for argument in arguments])
        said = capsys.readouterr()
        return stop.value.code or 0, said.out + said.err

    return start


def test_every_command_is_accounted_for():
    found = commands()
    assert {name: page for name, page in found.items() if name not in HOW} == {}, "say in HOW how they are tried"
    assert set(HOW) - set(found) == set(), "no longer in the documents"


@pytest.mark.parametrize("command", [name for name, (kind, _) in HOW.items() if kind == "run"])
def test_a_command_works(bench, command):
    code, said = bench([*arguments_of(command), *HOW[command][1]])
    assert "Traceback" not in said
    assert code == 0, said[-2000:]


@pytest.mark.parametrize("command", [name for name, (kind, _) in HOW.items() if kind == "parse" and "bench " in name])
def test_a_command_has_options_that_exist(command):
    assert parsed(arguments_of(command))


def named(words):
    """The command that the words begin with, None where there is none."""
    command = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            return command
        if word not in command.commands:
            return None
        command = command.commands[word]
    return command


def test_commands_in_the_text_exist():
    spans = [(page.name, span) for page in PAGES for span in SPAN.findall(page.read_text("utf-8"))]
    assert len(spans) > 20
    for page, span in spans:
        words = shlex.split(span.removeprefix("bench "))
        command = named(words)
        options = {word for word in words if word.startswith("-") and word != "--help"}
        assert command is not None or words[0].startswith("-"), f"{page}: {span}"
        if command is not None:
            assert options <= {name for parameter in command.params for name in parameter.opts}, f"{page}: {span}"


def test_installing_is_what_ci_does():
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install --quiet -e '.[test]'" in ci
    assert "mkdocs build --strict" in ci


def test_python_of_the_documents_runs(sandbox):
    blocks = []
    for page in PAGES:
        for body in PYTHON.findall(page.read_text("utf-8")):
            if not body.startswith("# ") and "open_mix" not in body:
                blocks.append(body)
    assert len(blocks) >= 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=sandbox, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def rows_of_tables(text):
    """Cells of each line of each Markdown table by heading, without emphasis."""
    for table in re.findall(r"((?:^\|.*\|$\n?)+)", text, re.MULTILINE):
        lines = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for line in lines[2:]:
            yield dict(zip(lines[0], line, strict=True))


def test_numbers_in_the_readme_are_those_of_the_tables():
    stored = list(rows_of_tables((ROOT / "results" / "tables" / "table3.md").read_text()))
    shown = [row for row in rows_of_tables((ROOT / "README.md").read_text()) if "system" in row]
    assert len(shown) >= 5
    for row in shown:
        same = [other for other in stored if other["system"] == row["system"] and row.keys() <= other.keys()]
        assert row in [{name: other[name] for name in row} for other in same], f"table3.md has {same}"


def test_every_data_set_is_described():
    text = (ROOT / "docs" / "pages" / "data.md").read_text()
    for spec in DATASETS.values():
        assert f"`{spec.name}`" in text or re.fullmatch(r"dis-te[1-4]", spec.name), spec.name
        assert Path(spec.images).parts[-1] in text or spec.name.startswith("dis-te"), spec.images
        address = re.match(r"https?://[^\s(,]+", spec.source)
        assert address is None or address[0] in text, spec.source
        if spec.count:
            assert f"{spec.count:,}" in text, spec.name


def test_links_between_pages_hold():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            generated = page.parent.name == "pages" and target in {"commands.md", "contributing.md"}
            drawn = target.startswith("figures/") and (ROOT / "results" / target).is_file()
            outside = target.startswith(("http://", "https://"))
            assert outside or generated or drawn or (page.parent / target).exists(), f"{page.name}: {target}"
