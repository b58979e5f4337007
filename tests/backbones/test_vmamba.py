"""VMamba: outputs of the original code, its scan written out, its checkpoints in every layout."""

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.counting import count_operations
from linbench.backbones.ss2d import SS2D
from linbench.backbones.vssm import PatchMerging
from linbench.errors import UsageError, WeightsError
from timm.models.swin_transformer import PatchMerging as SwinPatchMerging

NAMES = {
    "vmamba_tiny_s2l5": "vmamba-t",
    "vmamba_small_s2l15": "vmamba-s",
    "vmamba_base_s2l15": "vmamba-b",
    "vmamba_tiny_s1l8": "vmamba-t-s1l8",
    "vmamba_small_s1l20": "vmamba-s-s1l20",
    "vmamba_base_s1l20": "vmamba-b-s1l20",
    "vmamba_tiny_v0": "vmamba-t-v0",
    "vmamba_small_v0": "vmamba-s-v0",
    "vmamba_base_v0": "vmamba-b-v0",
}
# Multiply-adds and scans of the authors' table, at 224 pixels, in billions.
PUBLISHED = (4.9, 8.7, 15.4, 4.9, 8.6, 15.2, 5.6, 11.2, 18.0)
VERSIONS = ["vmamba-t", "vmamba-t-v0"]
HEAD = ("classifier.head.weight", "classifier.head.bias")


def small(name="vmamba-t", **options):
    """A narrow, shallow model with random values in every parameter."""
    torch.manual_seed(5)
    model = linbench.create_backbone(name, **{"dims": 16, "depths": (1, 1, 2, 1), **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def official(model, head=False):
    """The weights of a model as the classification code names them."""
    state = {f"classifier.{k}" if k.startswith("norm.") else k: v for k, v in model.state_dict().items()}
    width = model.pooled_channels
    return {**state, HEAD[0]: torch.ones(7, width), HEAD[1]: torch.ones(7)} if head else state


def orders(height, width):
    """The pixels of a map in the order of each direction."""
    rows = torch.arange(height * width)
    columns = rows.view(height, width).T.flatten()
    return rows, columns, rows.flip(0), columns.flip(0)


def written_out(op, x):
    """SS2D of `x: [B, H, W, C]`, step by step."""
    _, height, width, _ = x.shape
    inner, gate = F.linear(x, op.in_proj.weight).split([op.inner, op.inner * op.gate], dim=-1)
    y = F.silu(F.conv2d(inner.permute(0, 3, 1, 2), op.conv2d.weight, op.conv2d.bias, padding=1, groups=op.inner))
    total = torch.zeros_like(y).flatten(2)
    for k, order in enumerate(orders(height, width)):
        u = y.flatten(2)[..., order]
        step, B, C = (op.x_proj_weight[k] @ u).split(op.widths, dim=1)
        delta = F.softplus(op.dt_projs_weight[k] @ step + op.dt_projs_bias[k, :, None])
        A = -op.A_logs.view(4, op.inner, -1)[k].exp()
        state = torch.zeros(len(x), op.inner, A.shape[1], dtype=x.dtype)
        for t, pixel in enumerate(order):
            state = (delta[..., t, None] * A).exp() * state + (delta * u)[..., t, None] * B[:, None, :, t]
            total[..., pixel] += (state * C[:, None, :, t]).sum(-1) + op.Ds.view(4, -1)[k] * u[..., t]
    out = op.out_norm(total.mT.unflatten(1, (height, width)))
    return op.out_proj(out * F.silu(gate) if op.gate else out)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "case", "kernels"),
    [
        ("vmamba_tiny_s2l5", "224x224", "auto"),
        ("vmamba_small_s2l15", "224x224", "auto"),
        ("vmamba_tiny_s1l8", "224x224", "torch"),
        ("vmamba_tiny_s1l8", "256x256", "cpu"),
        ("vmamba_tiny_v0", "128x128", "cpu"),
        ("vmamba_tiny_v0", "128x128", "torch"),
        ("vmamba_tiny_v0", "128x128", "reference"),
    ],
)
def test_outputs_of_the_original(golden, close, normal, name, case, kernels):
    entry, values = golden(name).case(case)
    state, outputs = golden(name).state_dict(), entry["outputs"]
    model = linbench.create_backbone(NAMES[name], kernels=kernels).eval()
    linbench.load_official(model, state)
    maps, pooled = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"]))
    close(F.linear(pooled, *(state[key] for key in HEAD)), values["logits"], outputs["logits"], rtol=2e-5)
    for index, found in enumerate(maps):
        as_stored = found.permute(0, 2, 3, 1) if name.endswith("v0") else found
        close(as_stored, values[f"stage{index}"], outputs[f"stage{index}"], rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_counts_are_the_official_ones(golden, hollow, name):
    manifest = golden(name).manifest
    own = {key: list(value.shape) for key, value in official(hollow(NAMES[name])).items()}
    assert own == {key: shape for key, shape in manifest["params"].items() if key not in HEAD}
    assert linbench.backbone_spec(NAMES[name]).params["with_head"] == manifest["param_count"]


def test_counts_that_papers_quote(hollow):
    count = {norms: sum(p.numel() for p in hollow("vmamba-s", out_norms=norms).parameters()) for norms in (False, True)}
    assert count == {False: 49378752, True: 49378752 - 2 * 768 + 2 * (96 + 192 + 384 + 768)}


@pytest.mark.parametrize(("name", "published"), [*zip(NAMES.values(), PUBLISHED, strict=True)])
def test_operations_of_the_spec(name, published):
    spec = linbench.backbone_spec(name)
    counted = {side: count_operations(name, side) for side in (224, 1024)}
    assert {side: found.macs for side, found in counted.items()} == spec.macs
    assert {side: found.operator_flops for side, found in counted.items()} == spec.operator_flops
    assert (spec.macs[224] + spec.operator_flops[224]) / 1e9 == pytest.approx(published, rel=0.015)


@torch.inference_mode()
@pytest.mark.parametrize("kernels", ["cpu", "torch"])
@pytest.mark.parametrize(("height", "width"), [(3, 5), (4, 1), (1, 1), (6, 6)])
@pytest.mark.parametrize(
    "options",
    [{"states": 1, "gate": False, "conv_bias": False}, {"states": 16, "ratio": 1.5, "gate": True, "conv_bias": True}],
)
def test_the_scan_written_out(options, height, width, kernels):
    torch.manual_seed(1)
    op = SS2D(24, kernels=kernels, **options)
    x = torch.randn(2, height, width, 24)
    found = op(x)
    torch.testing.assert_close(found, written_out(op.double(), x.double()).float(), rtol=1e-4, atol=1e-5)
    in_double = op(x.double()) if kernels == "torch" else found
    assert in_double.dtype == (torch.float64 if kernels == "torch" else torch.float32)


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(4, 6), (7, 9), (7, 4), (1, 1)])
def test_patch_merging_is_swins(height, width):
    torch.manual_seed(0)
    ours, reference = PatchMerging(8, 16), SwinPatchMerging(8, 16)
    ours.load_state_dict(reference.state_dict())
    x = torch.randn(2, height, width, 8)
    torch.testing.assert_close(ours(x), reference(x))


@torch.inference_mode()
@pytest.mark.parametrize("name", VERSIONS)
def test_maps_of_any_size(image, name):
    model = small(name)
    features = model(image(56, 36))
    assert [tuple(found.shape[2:]) for found in features.maps] == [(14, 9), (7, 5), (4, 3), (2, 2)]
    assert all(found.isfinite().all() for found in features.maps)
    with pytest.raises(UsageError, match="multiples of 4"):
        model(image(56, 38))


@pytest.mark.parametrize("nesting", ["model", "model_ema"])
@pytest.mark.parametrize("name", VERSIONS)
def test_a_checkpoint_in_its_file(tmp_path, name, nesting):
    state = small(name).state_dict()
    torch.save({nesting: official(small(name), head=True), "epoch": 3}, tmp_path / "v")
    model = linbench.create_backbone(name, dims=16, depths=(1, 1, 2, 1), weights=str(tmp_path / "v"))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def single_file(key, value):
    """The layout of the single-file code: projections of all directions in one matrix."""
    for name in ("x_proj", "dt_projs"):
        if key.endswith(f".{name}_weight"):
            return key.replace(f"{name}_weight", f"{name}.weight"), value.flatten(0, 1)
    return key, value


def convolutions(key, value):
    """Linear layers as 1x1 convolutions."""
    linear = ("in_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight", "x_proj.weight")
    key, value = single_file(key, value)
    return key, value[..., None, None] if key.endswith(linear) else value


def first_names(key, value):
    """The names before the second version."""
    for new, old in (
        ("patch_embed.0.", "patch_embed.proj."),
        ("patch_embed.2.", "patch_embed.norm."),
        ("classifier.", ""),
        (".op.", ".self_attention."),
    ):
        key = key.replace(new, old)
    return key.replace(".norm.", ".ln_1.") if ".blocks." in key else key, value


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize(
    ("name", "layout"),
    [("vmamba-t", single_file), ("vmamba-t", convolutions), ("vmamba-t-v0", single_file), ("vmamba-t-v0", first_names)],
)
def test_layouts(name, layout, prefix):
    source = small(name)
    state = dict(layout(key, value) for key, value in official(source, head=True).items())
    assert state.keys() != official(source, head=True).keys()
    model = linbench.create_backbone(name, dims=16, depths=(1, 1, 2, 1))
    linbench.load_official(model, {prefix + key: value for key, value in state.items()})
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in model.state_dict().items())


@torch.inference_mode()
@pytest.mark.parametrize("name", VERSIONS)
def test_out_norms_of_a_dense_model(image, name):
    source, dense = small(name), small(name, out_norms=True)
    before = {key: value.clone() for key, value in dense.state_dict().items() if key.startswith("outnorm")}
    linbench.load_official(dense, official(source, head=True))
    assert all(torch.equal(value, dense.state_dict()[key]) for key, value in before.items())
    plain, normed = source(image(64, 96)), dense(image(64, 96))
    for index, (found, expected) in enumerate(zip(normed.maps, plain.maps, strict=True)):
        norm = getattr(dense, f"outnorm{index}")
        torch.testing.assert_close(found.permute(0, 2, 3, 1), norm(expected.permute(0, 2, 3, 1)))
    torch.testing.assert_close(normed.pooled, normed.maps[-1].mean(dim=(2, 3)))


def test_a_detectors_checkpoint():
    source = small(out_norms=True).state_dict()
    state = {f"backbone.{key}": value for key, value in source.items()} | {"neck.convs.0.weight": torch.zeros(1)}
    dense = linbench.create_backbone("vmamba-t", dims=16, depths=(1, 1, 2, 1), out_norms=True)
    linbench.load_official(dense, state)
    assert all(torch.equal(value, source[key]) for key, value in dense.state_dict().items())
    with pytest.raises(WeightsError, match=r"2 missing: norm.weight, norm.bias; 8 unexpected: outnorm0.weight"):
        linbench.load_official(small(), state)
    with pytest.raises(WeightsError, match=r"1 missing: outnorm2.bias"):
        linbench.load_official(dense, {key: value for key, value in state.items() if key != "backbone.outnorm2.bias"})
    with pytest.raises(WeightsError, match=r"8 missing: outnorm0.weight"):
        linbench.load_official(dense, {key: value for key, value in state.items() if "outnorm" not in key})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 32}, "of another shape: patch_embed.0.weight"),
        ({"depths": (1, 1, 3, 1)}, "unexpected: layers.2.blocks.2"),
        ({"depths": (1, 1, 1, 1)}, "missing: layers.2.blocks.1"),
        ({"ssm_ratio": 1.0}, r"of another shape: layers.0.blocks.0.op.x_proj_weight \(4, 3, 16\) != \(4, 3, 32\)"),
        ({"name": "vmamba-t-v0"}, "unexpected"),
    ],
)
def test_weights_of_another_model(options, message):
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        linbench.load_official(model, official(small(**options)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_classifier_takes_the_head_too():
    source = small()
    model = linbench.create_classifier("vmamba-t", num_classes=7, dims=16, depths=(1, 1, 2, 1))
    linbench.load_official(model, {f"module.{key}": value for key, value in official(source, head=True).items()})
    assert (model.head.weight == 1).all()
    assert torch.equal(model.backbone.norm.weight, source.norm.weight)
    linbench.load_official(model, model.state_dict())


@pytest.mark.parametrize("name", VERSIONS)
def test_gradients_with_and_without_checkpointing(image, name):
    gradients = []
    for checkpointing in (False, True):
        model = small(name)
        model.gradient_checkpointing = checkpointing
        maps, pooled = model(image(64, 36))
        (sum(found.square().mean() for found in maps) + pooled.square().mean()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        gradients.append([parameter.grad for parameter in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_stochastic_depth_grows_to_its_last_value():
    layers = small(drop_path=0.2).layers
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in layers for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_initial_values():
    torch.manual_seed(0)
    model = linbench.create_backbone("vmamba-t-v0", depths=(1, 1, 1, 1))
    op = model.layers[1].blocks[0].op
    steps = F.softplus(op.dt_projs_bias)
    assert 1e-3 <= steps.min() < 2e-3
    assert 5e-2 < steps.max() <= 0.1001
    assert op.dt_projs_weight.abs().max().item() == pytest.approx(12**-0.5, rel=1e-2)
    assert op.x_proj_weight.abs().max().item() == pytest.approx(384**-0.5, rel=1e-2)
    torch.testing.assert_close(op.A_logs.exp(), torch.arange(1.0, 17).expand(4 * 384, 16))
    assert (op.Ds == 1).all()
    assert op.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)


@torch.inference_mode()
@pytest.mark.parametrize("options", [{}, {"name": "vmamba-t-v0"}, {"out_norms": True}])
def test_compiles_into_one_graph(image, options):
    model = small(**options)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for first, second in zip(compiled(image(64, 36)).maps, model(image(64, 36)).maps, strict=True):
        torch.testing.assert_close(first, second)
