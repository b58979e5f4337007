import re

import pytest
import torch
from linbench.errors import BackendError
from linbench.kernels import selective_scan, triton_tools
from linbench.kernels.selective_scan.op import selective_scan_forward

pytest.importorskip("triton")
module = pytest.importorskip("linbench.kernels.selective_scan.triton")
kernels = pytest.importorskip("linbench.kernels.selective_scan.triton_kernels")

SHAPES = [
    # batch, channels, tokens, states, groups, directions, softplus, optional
    (1, 1, 1, 1, 1, (False,), True, ("D", "z", "delta_bias")),
    (2, 6, 37, 2, 2, (False,), True, ("D", "z", "delta_bias")),
    (1, 5, 33, 3, 1, (True,), True, ("z", "delta_bias")),
    (1, 12, 50, 2, 2, (False, True), True, ("D", "z", "delta_bias")),
    (1, 8, 40, 1, 4, (False, True, True, False), True, ("D", "delta_bias")),
    (1, 4, 17, 1, 1, (True, False), False, ("D", "z")),
    (1, 3, 20, 2, 1, (False,), False, ()),
]


def draw(batch, channels, tokens, states, groups, optional, softplus, device):
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator)

    delta, bias = normal(batch, channels, tokens), normal(channels) - 1
    inputs = {
        "u": normal(batch, channels, tokens),
        "delta": delta if softplus else 0.2 * delta.abs(),
        "A": -torch.exp(normal(channels, states)),
        "B": normal(batch, groups, states, tokens),
        "C": normal(batch, groups, states, tokens),
        "D": normal(channels),
        "z": normal(batch, channels, tokens),
        "delta_bias": bias if softplus else bias.abs(),
    }
    grads = normal(batch, channels, tokens), normal(batch, channels, states)
    needed = {"u", "delta", "A", "B", "C", *optional}
    return {name: x.to(device) for name, x in inputs.items() if name in needed}, [g.to(device) for g in grads]


def run(inputs, grads, **options):
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    outputs = selective_scan(**leaves, return_last_state=True, **options)
    found = torch.autograd.grad(outputs, list(leaves.values()), [g.to(y) for g, y in zip(grads, outputs, strict=True)])
    return {"out": outputs[0].detach(), "last": outputs[1].detach()} | dict(zip(leaves, found, strict=True))


def truth(inputs, grads, **options):
    doubles = {name: x.double() for name, x in inputs.items()}
    return run(doubles, [g.double() for g in grads], backend="torch", **options)


def assert_close(got, right, tolerance):
    for name, expected in right.items():
        error = (got[name].double() - expected).abs().max()
        assert error <= tolerance * max(0.1, expected.abs().max()), f"{name}: {error:.2e} of {expected.abs().max():.2e}"


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Several blocks, tiles and turns even for short sequences, and outputs that begin as NaN."""
    monkeypatch.setattr(module, "BLOCK_TILE", module.Tile(2, 16, 1))
    monkeypatch.setattr(module, "GRADIENT_TILE", module.Tile(4, 16, 1))
    monkeypatch.setattr(module, "START_TILE", module.Tile(4, 2, 1))
    monkeypatch.setattr(module, "WALK_TILES", (module.Tile(1, 16, 1), module.Tile(2, 16, 1)))
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))


@pytest.mark.triton
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_the_pytorch_form(triton_device, tiny_tiles, monkeypatch, shape):
    *sizes, reverse, softplus, optional = shape
    inputs, grads = draw(*sizes, optional, softplus, triton_device)
    options = {"delta_softplus": softplus, "reverse": reverse}
    right = truth(inputs, grads, **options)
    assert_close(run(inputs, grads, backend="triton", **options), right, 1e-5)
    for rows in (1 << 30, 0):
        monkeypatch.setattr(module, "ROWS_TO_WALK", (rows, rows))
        with torch.no_grad():
            out, last = selective_scan(**inputs, return_last_state=True, backend="triton", **options)
        assert_close({"out": out, "last": last}, {name: right[name] for name in ("out", "last")}, 1e-5)


@pytest.mark.triton
def test_block_boundaries_do_not_show(triton_device, monkeypatch):
    inputs, grads = draw(1, 4, 70, 2, 1, ("D", "z", "delta_bias"), True, triton_device)
    options = {"delta_softplus": True, "reverse": (True, False), "backend": "triton"}
    expected = run(inputs, grads, **options)
    monkeypatch.setattr(module, "BLOCK_TILE", module.Tile(1, 32, 1))
    monkeypatch.setattr(module, "GRADIENT_TILE", module.Tile(2, 32, 1))
    assert_close(run(inputs, grads, **options), expected, 1e-6)


@pytest.mark.triton
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_and_strided_storage(triton_device, dtype):
    inputs, grads = draw(2, 4, 21, 2, 1, ("D", "z", "delta_bias"), True, triton_device)
    inputs = {name: x if name in ("A", "D", "delta_bias") else x.to(dtype) for name, x in inputs.items()}
    grads = [grads[0].to(dtype), grads[1]]
    right = truth(inputs, grads, delta_softplus=True)
    inputs["u"] = inputs["u"].transpose(1, 2).contiguous().transpose(1, 2)
    inputs["z"] = torch.cat((inputs["z"], inputs["z"]), 1)[:, 4:]
    inputs["B"] = inputs["B"].transpose(2, 3).contiguous().transpose(2, 3)
    got = run(inputs, grads, delta_softplus=True, backend="triton")
    assert got["out"].dtype == got["B"].dtype == dtype
    assert got["last"].dtype == got["A"].dtype == torch.float32
    assert got["out"].stride(1) == 1
    assert_close(got, right, 2 * torch.finfo(dtype).eps)


@pytest.mark.triton
def test_registration_passes_opcheck(triton_device):
    inputs, _ = draw(1, 4, 18, 2, 2, ("D", "z", "delta_bias"), True, triton_device)
    tensors = [x.requires_grad_() for x in inputs.values()]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(selective_scan_forward, (*tensors, True, [False, True], "triton", True), test_utils=checks)


@pytest.mark.triton
def test_too_many_directions_are_refused(triton_device):
    inputs, _ = draw(1, 32, 2, 1, 1, (), True, triton_device)
    with pytest.raises(BackendError, match="at most 30 runs"):
        selective_scan(**inputs, reverse=[False, True] * 16, backend="triton")


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.skipif(triton_tools.INTERPRETED, reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused_with_the_reason():
    inputs, _ = draw(1, 2, 3, 1, 1, (), True, "cpu")
    with pytest.raises(BackendError, match=r"selective_scan.*triton.*TRITON_INTERPRET=1"):
        selective_scan(**inputs, backend="triton")


def described(kernel, storage, constexprs, adapted):
    """Types of a kernel's run-time arguments: storage of sequences, float32 for the rest, unit stride along time."""
    names = [name for name in kernel.arg_names if name not in constexprs]
    stored = {"u", "delta", "B", "C", "weights", "z", "out", "g"}
    own = {"A", "D", "bias", "states", "last", "ends", "totals", "first", "starts", "carries"}
    own |= {"gu", "g_delta", "gz", "g_rate", "g_row", "gb", "gc"}
    kinds = {name: f"*{storage}" if name in stored else "*fp32" if name in own else "i32" for name in names}
    units = {name: 1 for name in names if name.endswith("_t")}
    signature = {name: kind for name, kind in kinds.items() if name not in units}
    return signature, constexprs | units | adapted


FLAGS = {"SOFTPLUS": True, "HAS_D": True, "HAS_Z": True, "HAS_BIAS": True}
SUBJECTS = {
    "block_ends": {"N": 16, "ADJOINT": False, "SOFTPLUS": True, "HAS_Z": False, "HAS_BIAS": True},
    "block_starts": {"N": 16, "ADJOINT": False, "HAS_FIRST": False, "HAS_LAST": True, "CHANNELS": 64, "BLOCKS": 32},
    "scan": {"N": 16, "WALK": False, **FLAGS},
    "walk": {"N": 16, "WALK": True, **FLAGS},
    "walk of one state": {"N": 1, "WALK": True, **FLAGS, "HAS_Z": False},
    "gradients": {"N": 16, **FLAGS},
    "gradients of one state": {"N": 1, **FLAGS, "HAS_Z": False},
}


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_compiles_without_spills(compile_to_cubin, subject, capability):
    kernel = getattr(kernels, "scan" if "walk" in subject else subject.split()[0])
    constants = SUBJECTS[subject]
    tile = module.BLOCK_TILE
    if "walk" in subject:
        tile = module.WALK_TILES[constants["N"] > 1]
    elif "gradients" in subject:
        tile = module.GRADIENT_TILE
    elif subject == "block_starts":
        tile = module.START_TILE
    sizes = {} if subject == "block_starts" else {"CHANNELS": tile.channels, "TOKENS": tile.tokens}
    signature, constexprs = described(kernel, "bf16", constants, sizes)
    aligned = tuple(
        name for name in signature if name.endswith(("_b", "_d", "_g", "_n", "limit")) and signature[name] == "i32"
    )
    compiled = compile_to_cubin(kernel, signature, constexprs, capability, divisible=aligned, num_warps=tile.warps)
    assert not compiled.spilled
    if subject != "block_starts":
        assert re.search(r"ld\.global(\.\w+)*\.v4", compiled.ptx), "not read 16 bytes at a time"
