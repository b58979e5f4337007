"""Resolutions, options and the plan of the latency suite; the registry of suites."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from linbench.errors import UsageError
from linbench.suites import list_suites, suite
from linbench.suites.latency import SUITE, LatencyOptions, parse_batches, parse_resolutions

RUNS = Path(__file__).resolve().parents[3] / "results" / "runs" / "latency"
FIRST_PARAMS = ("attention", "batch", "channels_last", "compile", "device", "dtype", "protocol", "res", "seed")
FIRST_PARAMS += ("stage", "threads", "weights")


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("512..2048", (512, 768, 1024, 1280, 1536, 1792, 2048)),
        ("512..2048:512", (512, 1024, 1536, 2048)),
        (" 1024, 512 ,512", (512, 1024)),
        ("1024", (1024,)),
        ("64..64", (64,)),
    ],
)
def test_resolutions(text, sides):
    assert parse_resolutions(text) == sides


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("512..", r"--res '512..': expected A..B, A..B:STEP or a comma list, in multiples of 16"),
        ("", "expected A..B"),
        ("big", "expected A..B"),
        ("512,", "expected A..B"),
        ("-512", "expected A..B"),
        ("100", "100 is not a positive multiple of 16"),
        ("0", "0 is not a positive multiple of 16"),
        ("512..1000", "do not reach 1000; end at 768 or 1024"),
        ("512..1024:200", "do not reach 1024; end at 912 or 1112"),
        ("512..1024:0", "step must be positive"),
        ("1024..512", "end must not lie below the start"),
    ],
)
def test_bad_resolutions_say_what_was_expected(text, words):
    with pytest.raises(UsageError, match=words.replace("..", r"\.\.")) as caught:
        parse_resolutions(text)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 64), st.integers(0, 20), st.integers(1, 16))
def test_spread_holds_both_ends(first, count, step):
    sides = parse_resolutions(f"{16 * first}..{16 * (first + count * step)}:{16 * step}")
    assert len(sides) == count + 1
    assert sides[0] == 16 * first
    assert sides[-1] == 16 * (first + count * step)


@example("0\x1f")
@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        sides = parse_resolutions(text)
    except UsageError:
        return
    assert all(side > 0 and side % 16 == 0 for side in sides)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbones": ()}, "no backbone"),
        ({"backbones": ("vit-x",)}, "Did you mean vit-"),
        ({"resolutions": ()}, "no resolution"),
        ({"resolutions": (100,)}, "multiple of 16"),
        ({"dtypes": ("fp8",)}, "fp32, bf16, fp16"),
        ({"dtypes": ()}, "no dtype given"),
        ({"compile": ("fast",)}, "none, default, max-autotune, graphs"),
        ({"tf32": True}, "--device cuda"),
        ({"tf32": True, "device": "cuda", "dtypes": ("bf16",)}, "--dtype fp32"),
        ({"stages": ("e2e",)}, "--system vit-t+sam"),
        ({"stages": ("neck",)}, "backbone, encoder, decoder, e2e"),
        ({"backbones": (), "systems": ("rwkvsam-x",)}, "rwkvsam-"),
        ({"backbones": (), "systems": ("rwkvsam-t",), "stages": ("backbone",)}, "--backbone NAME"),
        ({"prompts": (0,)}, "prompts is 0"),
        ({"prompts": ()}, "no prompts given"),
        ({"batches": ("all",)}, "batch is all; expected positive numbers or auto"),
        ({"device": "tpu"}, "cuda:<index>"),
        ({"attention": ("flash",)}, "sdpa, eager"),
        ({"attention": ()}, "no kind of attention"),
        ({"batches": (0,)}, "batch is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"budget_s": 0.0}, "budget_s"),
        ({"budget_s": float("nan")}, "budget_s is nan"),
        ({"budget_s": float("inf")}, "budget_s is inf"),
        ({"kernels": "trition"}, "kernels 'trition' are not known; expected auto or one of"),
        ({"subject": "nocolon"}, "module:function"),
    ],
)
def test_bad_options_say_what_was_expected(changes, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        LatencyOptions(**{"backbones": ("vit-t",), **changes})


def test_plan_makes_each_kind_of_attention_a_subject():
    options = LatencyOptions(
        backbones=("rwkvsam-t", "vit-t"), resolutions=(512, 256), attention=("sdpa", "eager"), threads=2, device="cuda"
    )
    cells = SUITE.plan(options)
    assert [(cell.backbone, cell.params["res"], cell.params["attention"]) for cell in cells] == [
        ("rwkvsam-t", 256, None),
        ("vit-t", 256, "sdpa"),
        ("vit-t", 256, "eager"),
        ("rwkvsam-t", 512, None),
        ("vit-t", 512, "sdpa"),
        ("vit-t", 512, "eager"),
    ]
    assert len({cell.key for cell in cells}) == 6
    assert {cell.params["device"] for cell in cells} == {"cuda:0"}


def test_plan_of_a_systems_stages():
    options = LatencyOptions(
        backbones=("vit-t",),
        systems=("vit-t+sam",),
        stages=("backbone", "encoder", "decoder", "e2e"),
        prompts=(1, 20),
        attention=("sdpa", "eager"),
    )
    told = ("stage", "attention", "prompts")
    assert [tuple(cell.params.get(name) for name in told) for cell in SUITE.plan(options)] == [
        ("backbone", "sdpa", None),
        ("backbone", "eager", None),
        ("encoder", "sdpa", None),
        ("encoder", "eager", None),
        ("decoder", None, 1),
        ("decoder", None, 20),
        *(("e2e", kind, count) for kind in ("sdpa", "eager") for count in (1, 20)),
    ]
    assert [cell.params["stage"] for cell in SUITE.plan(LatencyOptions(systems=("vit-t+sam",)))] == ["e2e"]


def test_lists_become_cells():
    options = LatencyOptions(
        backbones=("rwkvsam-t",),
        batches=parse_batches("1, 8,auto"),
        dtypes=("fp32", "bf16"),
        compile=("none", "default"),
    )
    cells = SUITE.plan(options)
    assert len({cell.key for cell in cells}) == len(cells) == 12
    assert {cell.params["batch"] for cell in cells} == {1, 8, "auto"}
    assert {cell.params.get("measure") for cell in cells if cell.params["batch"] == "auto"} == {"throughput"}


def test_tf32_concerns_fp32_only():
    cells = SUITE.plan(LatencyOptions(backbones=("rwkvsam-t",), dtypes=("fp32", "bf16"), tf32=True, device="cuda"))
    assert [cell.params.get("tf32") for cell in cells] == [True, None]


def test_every_subject_has_a_twin_for_an_a_a_comparison():
    cells = SUITE.plan(LatencyOptions(backbones=("rwkvsam-t", "vit-t"), aa=True))
    assert [(cell.backbone, cell.params["twin"]) for cell in cells] == [
        (name, twin) for name in ("rwkvsam-t", "vit-t") for twin in "ab"
    ]


def test_rows_that_were_committed_are_still_found():
    stored = [json.loads(path.read_text())["cell"] for path in RUNS.rglob("*.json")]
    names = ("rwkvsam-s", "vit-s")
    keys = {cell["key"] for cell in stored if set(cell["params"]) == set(FIRST_PARAMS) and cell["backbone"] in names}
    assert len(keys) >= 8
    options = LatencyOptions(
        backbones=names,
        resolutions=parse_resolutions("512..2048"),
        attention=("sdpa", "eager"),
        threads=2,
    )
    planned = SUITE.plan(options)
    assert keys & {cell.key for cell in planned} == keys
    assert {tuple(sorted(cell.params)) for cell in planned} == {FIRST_PARAMS}


def test_a_kernel_backend_concerns_only_models_with_operators():
    cells = SUITE.plan(LatencyOptions(backbones=("rwkvsam-t", "vit-t"), kernels="torch"))
    assert [cell.params.get("kernels") for cell in cells] == ["torch", None]


def test_how_long_to_measure_does_not_change_a_cell():
    first = SUITE.plan(LatencyOptions(backbones=("vit-t",), budget_s=1, rounds=3))
    assert first == SUITE.plan(LatencyOptions(backbones=("vit-t",), timeout_s=10))
    assert first != SUITE.plan(LatencyOptions(backbones=("vit-t",), threads=31))


def test_suites_are_found_by_name():
    assert {"ade20k", "classification", "distill", "kernels", "latency", "sam-hq"} < set(list_suites())
    assert suite("latency") is SUITE
    assert suite("latency").name == "latency"
    with pytest.raises(UsageError, match="Did you mean latency"):
        suite("latecny")


def test_planning_imports_no_torch():
    code = (
        "import sys; from linbench.suites import suite; from linbench.suites.latency import LatencyOptions;"
        "suite('latency').plan(LatencyOptions(backbones=('rwkvsam-s', 'vit-s')));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
