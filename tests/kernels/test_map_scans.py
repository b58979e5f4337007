"""Cross-scan and atrous scan, with their merges."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import atrous_merge, atrous_scan, cross_merge, cross_scan
from linbench.kernels.atrous_scan.op import atrous_merge_op, atrous_scan_op
from linbench.kernels.cross_scan.op import cross_merge_op, cross_scan_op

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens"
COMPILED = ("cpu", "torch")
BACKENDS = (*COMPILED, "reference")
TRITON = pytest.param("triton", marks=pytest.mark.triton)
SIZES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 70), st.integers(1, 70))


def cases(name):
    folder = GOLDENS / name
    if not folder.exists():
        return [pytest.param(None, None, marks=pytest.mark.skip("no ../shared/goldens here"))]
    return [
        (case, np.load(folder / f"case{case['id']}.npz"))
        for case in json.loads((folder / "manifest.json").read_text())["cases"]
    ]


def assert_golden(got, case, stored, name):
    assert list(got.shape) == case["outputs"][name]["shape"]
    assert np.array_equal(got.detach().cpu().numpy().ravel()[:: case["outputs"][name]["stride"]], stored[name]), name


def counting(*shape, start=0):
    return torch.arange(start, start + np.prod(shape), dtype=torch.float32).reshape(shape)


@pytest.mark.parametrize("backend", [*BACKENDS, TRITON])
@pytest.mark.parametrize(("case", "stored"), cases("op_cross_scan"))
def test_cross_scan_gives_what_the_original_code_gives(case, stored, backend, device_of):
    batch, channels, height, width = (case["inputs"][name] for name in "BCHW")
    x = counting(batch, channels, height, width).to(device_of(backend))
    sequences = cross_scan(x, backend=backend)
    assert_golden(sequences, case, stored, "scan0")
    rng = np.random.RandomState(1000 + int(case["id"]))
    y = torch.tensor(rng.randint(0, 4096, size=4 * x.numel()).reshape(batch, 4, channels, height, width)).to(x)
    assert_golden(cross_merge(y, backend=backend), case, stored, "merge0")
    assert_golden(cross_merge(sequences.view(y.shape), backend=backend), case, stored, "merge_of_scan0")


@pytest.mark.parametrize("backend", [*BACKENDS, TRITON])
@pytest.mark.parametrize(("case", "stored"), cases("op_efficient_scan"))
def test_atrous_scan_gives_what_the_original_code_gives(case, stored, backend, device_of):
    batch, channels, height, width = (case["inputs"][name] for name in "BCHW")
    x = counting(batch, channels, height, width, start=1).to(device_of(backend)).requires_grad_()
    sequences = atrous_scan(x, backend=backend)
    assert_golden(sequences, case, stored, "scan")
    y = counting(*sequences.shape, start=1).to(x.device).requires_grad_()
    merged = atrous_merge(y, (height, width), backend=backend)
    assert_golden(merged, case, stored, "merge")
    assert_golden(atrous_merge(sequences, (height, width), backend=backend), case, stored, "merge_of_scan")
    assert_golden(torch.autograd.grad(sequences, x, y.detach())[0], case, stored, "gscan")
    assert_golden(torch.autograd.grad(merged, y, x.detach().flatten(2))[0], case, stored, "gmerge")


def test_orders_on_a_small_map_are_those_of_the_papers():
    rows = torch.arange(6.0).view(1, 1, 2, 3)
    assert cross_scan(rows).view(4, 6).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]
    assert atrous_scan(torch.arange(24.0).view(1, 1, 4, 6)).view(4, 6).tolist() == [
        [0, 2, 4, 12, 14, 16],
        [6, 18, 8, 20, 10, 22],
        [1, 3, 5, 13, 15, 17],
        [7, 19, 9, 21, 11, 23],
    ]


@settings(max_examples=15, deadline=None)
@given(shape=SIZES, dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]))
@pytest.mark.parametrize("backend", COMPILED)
def test_cross_scan_matches_its_index_table(backend, shape, dtype):
    x = torch.randn(shape).to(dtype)
    assert torch.equal(cross_scan(x, backend=backend), cross_scan(x, backend="reference"))
    y = torch.randint(-99, 99, (shape[0], 4, *shape[1:])).to(dtype)
    assert torch.equal(cross_merge(y, backend=backend), cross_merge(y, backend="reference"))


@settings(max_examples=15, deadline=None)
@given(shape=SIZES, step=st.integers(1, 4), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
@pytest.mark.parametrize("backend", COMPILED)
def test_atrous_scan_matches_its_index_table(backend, shape, step, dtype):
    x = torch.randn(shape).to(dtype)
    sequences = atrous_scan(x, step=step, backend=backend)
    assert torch.equal(sequences, atrous_scan(x, step=step, backend="reference"))
    y, grid = torch.randn_like(sequences), shape[2:]
    expected = atrous_merge(y, grid, step=step, backend="reference")
    assert torch.equal(atrous_merge(y, grid, step=step, backend=backend), expected)
    assert torch.equal(atrous_merge(sequences, grid, step=step, backend=backend).view(shape), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_by_finite_differences(backend):
    x = torch.randn(1, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 4, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    z = torch.randn(1, 4, 2, 6, dtype=torch.float64, requires_grad=True)
    for function, value in (
        (lambda x: cross_scan(x, backend=backend), x),
        (lambda y: cross_merge(y, backend=backend), y),
        (lambda x: atrous_scan(x, backend=backend), x),
        (lambda z: atrous_merge(z, (3, 5), backend=backend), z),
    ):
        assert torch.autograd.gradcheck(function, value)
        assert torch.autograd.gradgradcheck(function, value)


@pytest.mark.parametrize("backend", COMPILED)
def test_strided_maps(backend):
    x = torch.randn(2, 9, 7, 3).permute(0, 3, 1, 2)
    assert torch.equal(cross_scan(x, backend=backend), cross_scan(x.contiguous(), backend="reference"))
    assert torch.equal(atrous_scan(x, backend=backend), atrous_scan(x.contiguous(), backend="reference"))
    y = torch.randn(2, 9, 7, 3, 4).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(cross_merge(y, backend=backend), cross_merge(y, backend="reference"))


def results(device, backend, dtype=torch.float32):
    x = torch.randn(1, 2, 37, 34, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    y = torch.stack((x, 2 * x, x.flip(2), x.flip(3)), dim=1)
    sequences = atrous_scan(x, backend=backend)
    merged = atrous_merge(sequences.flip(3), (37, 34), backend=backend)
    return [cross_scan(x, backend=backend), cross_merge(y, backend=backend), sequences, merged]


@pytest.mark.parametrize("backend", COMPILED)
def test_every_output_is_written(monkeypatch, backend):
    expected = results("cpu", "reference")
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kwargs: new_empty(*args, **kwargs).fill_(torch.nan))
    torch.testing.assert_close(results("cpu", backend), expected)


@pytest.mark.triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_triton_kernels(monkeypatch, triton_device, dtype):
    expected = results("cpu", "reference", dtype)
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kwargs: new_empty(*args, **kwargs).fill_(torch.nan))
    torch.testing.assert_close([result.cpu() for result in results(triton_device, "triton", dtype)], expected)


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.parametrize("capability", [80, 90])
def test_triton_kernels_compile_without_spilling(compile_to_cubin, capability):
    triton_language = pytest.importorskip("triton.language")
    from linbench.kernels.atrous_scan import triton as atrous
    from linbench.kernels.cross_scan import triton as cross

    sizes = dict.fromkeys(("channels", "height", "width"), "i32")
    for kernel, signature, constants in (
        (cross.scan_kernel, {"x": "*bf16", "out": "*bf16", **sizes}, {"tile": cross.TILE}),
        (
            cross.merge_kernel,
            {"y": "*bf16", "out": "*bf16", **sizes},
            {"wide": triton_language.float32, "tile": cross.TILE},
        ),
        *(
            (
                atrous.move_kernel,
                {"maps": "*bf16", "sequences": "*bf16", **sizes, "rows": "i32", "columns": "i32"},
                {"step": 2, "merge": merge, "tile": atrous.TILE},
            )
            for merge in (False, True)
        ),
    ):
        assert not compile_to_cubin(kernel, signature, constants, capability).spilled


def round_trip(x):
    y = cross_merge(cross_scan(x).view(x.shape[0], 4, *x.shape[1:])).view(x.shape)
    return atrous_merge(atrous_scan(y), x.shape[2:]).view(x.shape)


def test_compiles_without_graph_breaks():
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    y = torch.compile(round_trip, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(y, 4 * x)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], torch.full_like(x, 4))


@pytest.mark.parametrize("backend", BACKENDS)
def test_registration_passes_opcheck(backend):
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    torch.library.opcheck(cross_scan_op, (x, backend))
    torch.library.opcheck(cross_merge_op, (torch.randn(2, 4, 3, 5, 4, requires_grad=True), backend))
    torch.library.opcheck(atrous_scan_op, (x, 2, backend))
    torch.library.opcheck(atrous_merge_op, (torch.randn(2, 4, 3, 6, requires_grad=True), 5, 4, 2, backend))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: cross_scan(torch.zeros(2, 3, 4)), "x"),
        (lambda: cross_scan(torch.zeros(2, 3, 0, 4)), "x"),
        (lambda: cross_merge(torch.zeros(2, 3, 1, 4, 4)), "y"),
        (lambda: atrous_scan(torch.zeros(2, 3, 4)), "x"),
        (lambda: atrous_scan(torch.zeros(1, 1, 4, 4), step=0), "step"),
        (lambda: atrous_merge(torch.zeros(1, 4, 1, 6), (4, 4)), "y"),
        (lambda: atrous_merge(torch.zeros(1, 4, 1, 6), (0, 4)), "grid"),
        (lambda: cross_scan(torch.zeros(1, 1, 2, 2), backend="cuda"), "backend"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(UsageError, match=f"^{name}: "):
        call()


def test_a_forced_backend_that_cannot_serve_says_why():
    with pytest.raises(BackendError, match="int64"):
        cross_scan(torch.zeros(1, 1, 2, 2, dtype=torch.int64), backend="cpu")
    assert cross_scan(torch.zeros(1, 1, 2, 2, dtype=torch.int64)).dtype == torch.int64
