"""No time for a wrong answer: outputs against reference kernels, and compiled ones against eager ones."""

import pytest
import torch
from linbench.errors import UsageError
from linbench.suites.latency.gate import TOLERANCES, check_kernels, check_launch, compare
from linbench.suites.latency.launch import Launch
from linbench.suites.latency.models import build_model
from torch import nn

CPU = torch.device("cpu")


def cell(name, stage="backbone", **changes):
    params = {"backbone": name, "stage": stage, "seed": 0, "attention": None, **changes}
    return params | ({"prompts": 2} if stage in ("decoder", "e2e") else {})


def check(params, dtype=torch.float32, spoil=None):
    model = build_model(params).to(dtype)
    if spoil:
        spoil(model)
    return check_kernels(model, params, CPU, dtype, 64)


def scale_one(kind, factor):
    def spoil(model):
        module = next(module for module in model.modules() if type(module).__name__ == kind)
        module.register_forward_hook(lambda module, inputs, output: factor * output)

    return spoil


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize("name", ["rwkvsam-t", "vim-t"])
def test_fast_kernels_pass(one_thread, name, dtype):
    found = check(cell(name), dtype)
    assert found.wrong == ""
    assert 0 < found.rms <= found.tolerance / 2
    assert "kernels in fp32" in found.against


def test_stages_of_a_system_pass(one_thread):
    for stage in ("encoder", "decoder", "e2e"):
        assert check(cell("vit-t+sam", stage, attention="sdpa")).wrong == "", stage


def test_one_layer_that_is_a_little_off_is_wrong(one_thread):
    """Layers whose scale starts at almost nothing are no hiding place either."""
    found = check(cell("rwkvsam-t"), spoil=scale_one("SpatialMix", 1.01))
    assert "differs from torch kernels in fp32" in found.wrong
    assert "no time is given" in found.wrong


def test_values_that_are_not_finite_are_wrong(one_thread):
    found = check(cell("vit-t", attention="sdpa"), spoil=scale_one("Attention", float("nan")))
    assert "not finite" in found.wrong


def test_a_module_of_the_users_is_held_against_nothing():
    assert check_kernels(nn.Identity(), cell("mine", subject="any:thing"), CPU, torch.float32, 64).against is None


def test_a_compiled_output_is_held_against_the_eager_one():
    good, bad = [torch.ones(4)], [torch.tensor([1.0, 1.0, 1.0, 1.5])]
    assert check_launch(good, good, torch.float32, "default").wrong == ""
    assert "eager model (compile default)" in check_launch(bad, good, torch.float32, "default").wrong
    assert "shapes" in compare(good, [torch.ones(5)], 1.0, against="it").wrong


def test_cuda_graphs_need_a_gpu():
    with pytest.raises(UsageError, match="'graphs' needs a CUDA device"):
        Launch(nn.Identity(), "graphs", CPU)


def test_attention_that_a_model_does_not_have_is_refused():
    with pytest.raises(UsageError, match="SDPA attention only"):
        build_model(cell("tinyvit-5m", attention="eager"))
    assert build_model(cell("tinyvit-5m", attention="sdpa"))
