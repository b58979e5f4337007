"""Latency of a system with another refine module: cells, options, and a real measurement."""

import pytest
from linbench.errors import UsageError
from linbench.results.store import Store
from linbench.suites.latency import SUITE, LatencyOptions
from linbench.suites.latency.models import build_model, operators_of, plain_backend

REFINE = ("conv", "mamba", "rwkv", "dcn")


def options(**changes):
    given = {"systems": ("rwkvsam-t",), "stages": ("e2e",), "resolutions": (64,), "sentinel": False, "threads": 1}
    return LatencyOptions(**{**given, "budget_s": 0.1, "rounds": 2, **changes})


def test_a_cell_names_the_refine_module_where_it_is_not_the_systems_own():
    plain, conv, mamba = SUITE.plan(options(refine=("auto", "conv", "mamba")))
    assert "refine" not in plain.params
    assert {**plain.params, "refine": "conv"} == {**conv.params}
    assert mamba.params["refine"] == "mamba"
    (encoder,) = SUITE.plan(options(stages=("encoder",)))
    assert "refine" not in encoder.params


def test_the_model_that_is_timed_has_the_refine_module():
    for name in REFINE:
        (cell,) = SUITE.plan(options(refine=(name,)))
        model = build_model({**cell.params, "backbone": cell.backbone})
        assert type(model.system.mask_decoder.refine).__name__.lower() == f"{name}refine"


def test_its_operators_are_known_and_have_a_plain_backend():
    (cell,) = SUITE.plan(options(refine=("mamba",)))
    operators = operators_of({**cell.params, "backbone": cell.backbone})
    assert operators == ("bi_wkv", "q_shift_mix", "selective_scan_2d")
    assert plain_backend(operators) in ("torch", "reference")


def test_a_measured_row_tells_the_kernels_of_both(tmp_path):
    (row,) = SUITE.run(options(refine=("mamba",)), store=Store(tmp_path))
    assert row.status in ("ok", "unstable"), row.error
    assert {*row.provenance["kernels"]} == {"bi_wkv", "q_shift_mix", "selective_scan_2d"}
    assert row.provenance["gate"]["rms"] <= row.provenance["gate"]["tolerance"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refine": ("conf",)}, "unknown refine module 'conf'; expected auto, none, conv, mamba, rwkv, dcn"),
        ({"refine": ()}, "no refine module given"),
        ({"refine": ("conv",), "stages": ("encoder",)}, "refine module conv is of a system's decoder"),
        ({"refine": ("conv",), "systems": (), "backbones": ("vit-t",), "stages": None}, "of a system's decoder"),
    ],
)
def test_refine_modules_that_cannot_be_meant(changes, words):
    with pytest.raises(UsageError, match=words):
        options(**changes)
