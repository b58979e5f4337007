import pytest
import torch
from linbench.errors import BackendError
from linbench.kernels import q_shift, q_shift_mix, triton_tools
from linbench.kernels.q_shift.op import q_shift_mix_op, q_shift_op

triton = pytest.importorskip("triton")
kernels = pytest.importorskip("linbench.kernels.q_shift.triton")

SHAPES = [
    # batch, height, width, channels, outputs, shift, gamma, class token
    (1, 1, 1, 1, 1, 1, 0.25, None),
    (2, 5, 7, 21, 3, 1, 0.25, None),
    (1, 6, 4, 40, 2, 2, 0.2, "first"),
    (2, 3, 9, 13, 4, 1, 0.1, "last"),
    (1, 2, 3, 8, 2, 5, 0.25, "first"),
    (1, 4, 4, 6, 3, 1, 0.0, None),
    (1, 4, 4, 6, 2, 0, 0.25, "last"),
]


def draw(batch, tokens, channels, outputs, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, tokens, channels, generator=generator)
    mix = 2 * torch.rand(outputs, channels, generator=generator) - 0.5
    grads = torch.randn(outputs, batch, tokens, channels, generator=generator)
    return x.to(device, dtype), mix.to(device), list(grads.to(device, dtype))


def run(x, mix, grads, grid, **options):
    x, mix = x.detach().clone().requires_grad_(), mix.detach().clone().requires_grad_()
    outputs = q_shift_mix(x, mix, grid, **options)
    return *outputs, *torch.autograd.grad(outputs, (x, mix), grads)


@pytest.mark.triton
@pytest.mark.parametrize(("batch", "height", "width", "channels", "outputs", "shift", "gamma", "class_token"), SHAPES)
def test_matches_the_pytorch_form(
    triton_device, monkeypatch, batch, height, width, channels, outputs, shift, gamma, class_token
):
    tokens = height * width + (class_token is not None)
    x, mix, grads = draw(batch, tokens, channels, outputs, device=triton_device)
    options = {"shift": shift, "gamma": gamma, "class_token": class_token}
    right = run(x.double(), mix.double(), [g.double() for g in grads], (height, width), backend="torch", **options)
    empty = torch.empty
    monkeypatch.setattr(kernels.torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    monkeypatch.setattr(kernels, "_FORWARD_TILE", 64)
    monkeypatch.setattr(kernels, "_BACKWARD_TILE", 32)
    monkeypatch.setattr(kernels, "_BACKWARD_TILES", 2)
    got = run(x, mix, grads, (height, width), backend="triton", **options)
    for value, expected in zip(got, right, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=2e-5)
    moved = q_shift(x, (height, width), backend="triton", **options)
    assert torch.equal(moved, q_shift(x, (height, width), backend="torch", **options))


@pytest.mark.triton
def test_the_gradient_of_the_shift_is_its_adjoint(triton_device):
    x, _, (g,) = draw(2, 13, 9, 1, device=triton_device)
    x.requires_grad_()
    grads = [
        torch.autograd.grad(q_shift(x, (3, 4), class_token="first", backend=backend), x, g)[0]
        for backend in ("triton", "torch")
    ]
    assert torch.equal(*grads)


@pytest.mark.triton
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_storage_is_rounded_once(triton_device, dtype):
    x, mix, grads = draw(1, 12, 8, 2, dtype, triton_device)
    got = run(x, mix, grads, (3, 4), backend="triton")
    right = run(x.double(), mix.double(), [g.double() for g in grads], (3, 4), backend="torch")
    assert [value.dtype for value in got] == [dtype, dtype, dtype, torch.float32]
    step = torch.finfo(dtype).eps
    for value, expected in zip(got, right, strict=True):
        assert (value - expected).abs().max() <= step * expected.abs().max()


@pytest.mark.triton
def test_strided_inputs(triton_device):
    x, mix, grads = draw(2, 12, 8, 3, device=triton_device)
    expected = run(x, mix, grads, (3, 4), backend="triton")
    for strided in (x.transpose(1, 2).contiguous().transpose(1, 2), torch.stack((x, x), -1)[..., 0]):
        outputs = q_shift_mix(strided, mix, (3, 4), backend="triton")
        assert all(map(torch.equal, outputs, expected))


@pytest.mark.triton
def test_registration_passes_opcheck(triton_device):
    x, mix, _ = draw(1, 12, 8, 2, device=triton_device)
    x.requires_grad_()
    mix.requires_grad_()
    torch.library.opcheck(q_shift_mix_op, (x, mix, 3, 4, 0, 1, 0.25, "triton"))
    torch.library.opcheck(q_shift_op, (x, 3, 4, 0, 1, 0.25, False, "triton"))


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.skipif(triton_tools.INTERPRETED, reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused_with_the_reason():
    with pytest.raises(BackendError, match=r"q_shift_mix.*triton.*TRITON_INTERPRET=1"):
        q_shift_mix(torch.zeros(1, 4, 4), torch.zeros(2, 4), (2, 2), backend="triton")


INTEGERS = (
    "x_b x_n tokens channels lead height width step cut1 cut2 cut3 cut4 blocks".split()  # noqa: SIM905
)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("storage", "direction"), [("bf16", "forward"), ("fp32", "forward"), ("bf16", "backward")])
def test_compiles_without_spills_and_moves_16_bytes_at_a_time(compile_to_cubin, capability, storage, direction):
    pointers = {"forward": "x out0 out1 out2", "backward": "x g0 g1 g2 gx"}[direction].split()
    signature = dict.fromkeys(pointers, f"*{storage}") | {"mix": "*fp32"} | dict.fromkeys(INTEGERS, "i32")
    constexprs = {"x_c": 1, "OUTPUTS": 3, "BLOCK_N": kernels._FORWARD_TILE // 128, "BLOCK_C": 128}
    if direction == "backward":
        signature["partials"] = "*fp32"
        constexprs |= {"TILES": kernels._BACKWARD_TILES, "BLOCK_N": kernels._BACKWARD_TILE // 128}
    aligned = ("x_b", "x_n", "channels", "cut1", "cut2", "cut3", "cut4")
    kernel = getattr(kernels, f"_{direction}_kernel")
    compiled = compile_to_cubin(kernel, signature, constexprs, capability, divisible=aligned)
    assert not compiled.spilled
    assert compiled.registers <= 128
    assert "ld.global.v4.b32" in compiled.ptx
    assert "st.global.v4.b32" in compiled.ptx
