"""EfficientVMamba: outputs of the original code, its atrous scan written out, its checkpoints."""

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.counting import count_operations
from linbench.backbones.efficientvmamba import EvssBlock
from linbench.backbones.ss2d import AtrousSS2D
from linbench.errors import UsageError, WeightsError

MODELS = {
    "efficientvmamba_tiny": ("efficientvmamba-t", {}),
    "efficientvmamba_small": ("efficientvmamba-s", {"dims": 96}),
    "efficientvmamba_small_ed64": ("efficientvmamba-s", {}),
    "efficientvmamba_base": ("efficientvmamba-b", {}),
}
# Of the authors' table, at 224 pixels, in billions.
PUBLISHED = {"efficientvmamba-t": 0.8, "efficientvmamba-s": 1.3, "efficientvmamba-b": 4.0}
DEPTHS = (1, 1, 2, 1)
HEAD = ("classifier.head.weight", "classifier.head.bias")
COUNTER = "num_batches_tracked"


def small(**options):
    """A narrow, shallow model with random values in every parameter and statistic."""
    torch.manual_seed(5)
    model = linbench.create_backbone("efficientvmamba-t", **{"dims": 16, "depths": DEPTHS, **options}).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith(COUNTER):
                value.add_(0.05 * torch.randn(value.shape).abs())
    return model


def official(state, depths=DEPTHS):
    """Weights as the original code names them: the last two stages are flat, and permutations count."""
    named = {}
    for key, value in state.items():
        parts = key.split(".")
        if key.startswith("norm."):
            parts = ["classifier", *parts]
        elif parts[0] == "layers" and int(parts[1]) >= 2:
            if parts[2] == "blocks":
                parts[2:4] = [str(int(parts[3]) + 1)]
            else:
                parts[2] = str(depths[int(parts[1])] + 2)
        named[".".join(parts)] = value
    return named


def sub_grids(height, width):
    """The pixels of the four sequences; -1 stands for padding."""
    numbers = torch.arange(height * width).view(height, width)
    grid = F.pad(numbers, (0, width % 2, 0, height % 2), value=-1)
    return (
        grid[::2, ::2].flatten(),
        grid[1::2, ::2].T.flatten(),
        grid[::2, 1::2].flatten(),
        grid[1::2, 1::2].T.flatten(),
    )


def written_out(op, x):
    """AtrousSS2D of `x: [B, H, W, C]`, step by step."""
    _, height, width, _ = x.shape
    inner, gate = F.linear(x, op.in_proj.weight).chunk(2, dim=-1)
    y = F.silu(F.conv2d(inner.permute(0, 3, 1, 2), op.conv2d.weight, op.conv2d.bias, padding=1, groups=op.inner))
    merged = torch.zeros_like(y).flatten(2)
    for k, pixels in enumerate(sub_grids(height, width)):
        u = torch.where(pixels >= 0, y.flatten(2)[..., pixels], 0)
        step, B, C = (op.x_proj_weight[k] @ u).split(op.widths, dim=1)
        delta = F.softplus(op.dt_projs_weight[k] @ step + op.dt_projs_bias[k, :, None])
        A = -op.A_logs.view(4, op.inner, -1)[k].exp()
        state = torch.zeros(len(x), op.inner, A.shape[1], dtype=x.dtype)
        for t, pixel in enumerate(pixels):
            state = (delta[..., t, None] * A).exp() * state + (delta * u)[..., t, None] * B[:, None, :, t]
            if pixel >= 0:
                merged[..., pixel] = (state * C[:, None, :, t]).sum(-1) + op.Ds.view(4, -1)[k] * u[..., t]
    return op.out_proj(op.out_norm(merged.mT.unflatten(1, (height, width))) * F.silu(gate))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "case", "kernels"),
    [
        ("efficientvmamba_tiny", "224x224", "auto"),
        ("efficientvmamba_tiny", "256x256", "torch"),
        ("efficientvmamba_tiny", "100x132", "cpu"),
        ("efficientvmamba_tiny", "100x132", "torch"),
        ("efficientvmamba_tiny", "100x132", "reference"),
        ("efficientvmamba_small", "224x224", "auto"),
        ("efficientvmamba_small_ed64", "224x224", "auto"),
    ],
)
def test_outputs_of_the_original(golden, close, normal, name, case, kernels):
    entry, values = golden(name).case(case)
    state, outputs = golden(name).state_dict(), entry["outputs"]
    backbone, overrides = MODELS[name]
    model = linbench.create_backbone(backbone, kernels=kernels, **overrides).eval()
    linbench.load_official(model, state)
    maps, pooled = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"]))
    close(F.linear(pooled, *(state[key] for key in HEAD)), values["logits"], outputs["logits"], rtol=2e-5)
    for index, found in enumerate(maps):
        close(found.permute(0, 2, 3, 1), values[f"stage{index}"], outputs[f"stage{index}"], rtol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_names_shapes_and_counts_are_the_official_ones(golden, hollow, name):
    manifest = golden(name).manifest
    backbone, overrides = MODELS[name]
    model = hollow(backbone, **overrides)
    own = {key: list(value.shape) for key, value in official(model.state_dict(), model.depths).items()}
    found = {key: shape for key, shape in own.items() if not key.endswith(COUNTER)}
    assert found == {key: shape for key, shape in manifest["params"].items() if key not in HEAD}
    head = 1001 * model.pooled_channels - model.pooled_channels + 1000
    assert sum(p.numel() for p in model.parameters()) + head == manifest["param_count"]


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_operations_of_the_spec(name, published):
    spec = linbench.backbone_spec(name)
    counted = {side: count_operations(name, side) for side in (224, 1024)}
    assert {side: found.macs for side, found in counted.items()} == spec.macs
    assert {side: found.operator_flops for side, found in counted.items()} == spec.operator_flops
    assert (spec.macs[224] + spec.operator_flops[224]) / 1e9 == pytest.approx(published, rel=0.02)


@torch.inference_mode()
@pytest.mark.parametrize("kernels", ["cpu", "torch"])
@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3), (1, 4), (1, 1)])
def test_the_scan_written_out(height, width, kernels):
    torch.manual_seed(1)
    op = AtrousSS2D(24, states=16, gate=True, conv_bias=True, kernels=kernels)
    x = torch.randn(2, height, width, 24)
    found = op(x)
    torch.testing.assert_close(found, written_out(op.double(), x.double()).float(), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_both_branches_go_through_one_gate():
    torch.manual_seed(1)
    block = EvssBlock(16, drop_path=0.0, kernels="cpu").eval()
    x = torch.randn(2, 5, 6, 16)
    inner = block.norm(x)
    gate = block.se
    expected = x
    for branch in (block.op(inner), block.conv_branch(inner.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)):
        means = F.layer_norm(branch, (16,), gate.norm.weight, gate.norm.bias).mean((1, 2))
        expected = expected + branch * gate.channel_select(F.gelu(gate.global_reduce(means))).sigmoid()[:, None, None]
    torch.testing.assert_close(block(x), expected)


@torch.inference_mode()
def test_maps_of_any_size(image):
    model = small()
    for (height, width), sizes in (
        ((224, 32), [(56, 8), (28, 4), (14, 2), (7, 1)]),
        ((56, 36), [(14, 9), (7, 5), (4, 3), (2, 2)]),
    ):
        assert [tuple(found.shape[2:]) for found in model(image(height, width)).maps] == sizes
    with pytest.raises(UsageError, match="multiples of 4"):
        model(image(56, 38))


@pytest.mark.parametrize("counted", [True, False], ids=["with-counters", "without"])
@pytest.mark.parametrize("prefix", ["", "module.module.", "backbone."])
def test_a_checkpoint_in_its_file(tmp_path, prefix, counted):
    source = small()
    state = {key: value + 3 if key.endswith(COUNTER) else value for key, value in source.state_dict().items()}
    state = {key: value for key, value in state.items() if counted or not key.endswith(COUNTER)}
    head = {"classifier.head.weight": torch.ones(7, 128), "classifier.head.bias": torch.ones(7)}
    torch.save({"state_dict": {prefix + k: v for k, v in (official(state) | head).items()}}, tmp_path / "e")
    model = linbench.create_backbone("efficientvmamba-t", dims=16, depths=DEPTHS, weights=str(tmp_path / "e"))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state.get(key, torch.tensor(0))), key


def test_a_classifier_takes_the_head_too():
    source = small()
    model = linbench.create_classifier("efficientvmamba-t", num_classes=7, dims=16, depths=DEPTHS)
    head = {"classifier.head.weight": torch.ones(7, 128), "classifier.head.bias": torch.ones(7)}
    linbench.load_official(model, {f"module.module.{k}": v for k, v in (official(source.state_dict()) | head).items()})
    assert (model.head.weight == 1).all()
    assert torch.equal(model.backbone.norm.weight, source.norm.weight)
    linbench.load_official(model, model.state_dict())


@torch.inference_mode()
def test_out_norms_of_a_dense_model(image):
    source, dense = small(), small(out_norms=True)
    norms = {key: value.clone() for key, value in dense.state_dict().items() if key.startswith("outnorm")}
    assert len(norms) == 8
    linbench.load_official(dense, official(source.state_dict()))
    assert all(torch.equal(value, dense.state_dict()[key]) for key, value in norms.items())
    for index, (found, expected) in enumerate(zip(dense(image(64, 96)).maps, source(image(64, 96)).maps, strict=True)):
        norm = getattr(dense, f"outnorm{index}")
        torch.testing.assert_close(found.permute(0, 2, 3, 1), norm(expected.permute(0, 2, 3, 1)))
    again = linbench.create_backbone("efficientvmamba-t", dims=16, depths=DEPTHS, out_norms=True)
    linbench.load_official(again, {f"backbone.{k}": v for k, v in official(dense.state_dict()).items()})
    assert all(torch.equal(value, dense.state_dict()[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 32}, "of another shape: patch_embed.0.weight"),
        ({"depths": (1, 1, 3, 1)}, "layers.2."),
        ({"depths": (1, 1, 2, 2)}, "unexpected: layers.3."),
        ({"depths": (1, 1, 2, 1, 1)}, "unexpected: layers.3.downsample"),
    ],
)
def test_weights_of_another_model(options, message):
    other = small(**options)
    with pytest.raises(WeightsError, match=message):
        linbench.load_official(small(), official(other.state_dict(), other.depths))


def test_gradients_with_and_without_checkpointing(image):
    gradients = []
    for checkpointing in (False, True):
        model = small()
        model.gradient_checkpointing = checkpointing
        maps, pooled = model(image(64, 36))
        (sum(found.square().mean() for found in maps) + pooled.square().mean()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        gradients.append([parameter.grad for parameter in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@torch.inference_mode()
def test_compiles_into_one_graph(image):
    model = small()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for first, second in zip(compiled(image(64, 36)).maps, model(image(64, 36)).maps, strict=True):
        torch.testing.assert_close(first, second)
