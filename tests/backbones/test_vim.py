"""Vim: outputs of the original code, its formulas written out with flips, its middle token at other resolutions."""

import math

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.counting import count_operations
from linbench.backbones.position import insert_middle_token, resize_around_middle_token, split_middle_token
from linbench.errors import UsageError, WeightsError

SIZES = {"vim_tiny": "vim-t", "vim_small": "vim-s", "vim_base": "vim-b"}
HEAD = ("head.weight", "head.bias")


def bicubic(grid_rows, side):
    """A square embedding `[1, N, C]` on another square grid."""
    old = math.isqrt(grid_rows.shape[1])
    image = grid_rows.transpose(1, 2).unflatten(2, (old, old))
    return F.interpolate(image, size=(side, side), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def first_row_taken_for_the_class(embedding, side):
    """What the original resizing makes of an embedding: row 0 stays, the rest is taken for the grid."""
    return torch.cat([embedding[:, :1], bicubic(embedding[:, 1:], side)], dim=1)


def direction(mixer, tokens, suffix):
    """One scan of the original mixer, token by token, before the projection out."""
    xz = mixer.in_proj(tokens).transpose(1, 2)
    x, z = (xz.flip(-1) if suffix else xz).chunk(2, dim=1)
    conv, x_proj, dt_proj = (getattr(mixer, name + suffix) for name in ("conv1d", "x_proj", "dt_proj"))
    x = F.silu(conv(F.pad(x, (3, 0))))
    step, B, C = x_proj(x.transpose(1, 2)).split([dt_proj.in_features, 16, 16], dim=-1)
    delta = F.softplus(dt_proj(step))
    A = -torch.exp(mixer.A_b_log if suffix else mixer.A_log)
    state, out = 0, []
    for t in range(x.shape[2]):
        state = torch.exp(delta[:, t, :, None] * A) * state + (delta[:, t] * x[..., t])[..., None] * B[:, t, None]
        out.append((state * C[:, t, None]).sum(-1))
    y = torch.stack(out, dim=-1) + (mixer.D_b if suffix else mixer.D)[:, None] * x
    y = y * F.silu(z)
    return y.flip(-1) if suffix else y


def rms_norm(x, weight):
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight


def original(model, images, *, divide_out=True):
    """The original forward pass in the model's own precision: normalised tokens and the row of the class token."""
    x = model.patch_embed.proj(images).flatten(2).transpose(1, 2)
    middle = x.shape[1] // 2
    if model.cls_token is not None:
        x = torch.cat([x[:, :middle], model.cls_token.expand(len(x), -1, -1), x[:, middle:]], dim=1)
    x = x + model.pos_embed
    for layer in model.layers:
        h = rms_norm(x, layer.norm.weight)
        y = direction(layer.mixer, h, "") + direction(layer.mixer, h, "_b")
        x = x + layer.mixer.out_proj((y / 2 if divide_out else y).transpose(1, 2))
    return rms_norm(x, model.norm_f.weight), middle


def small(**options):
    """A shallow Vim-T with random values in every parameter."""
    torch.manual_seed(5)
    model = linbench.create_backbone("vim-t", **{"depth": 2, **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "case", "kernels"),
    [
        ("vim_tiny", "224x224_native", "cpu"),
        ("vim_tiny", "224x224_native", "torch"),
        ("vim_tiny", "224x224_native", "reference"),
        ("vim_tiny", "256x256_interp", "auto"),
        ("vim_small", "224x224_native", "auto"),
    ],
)
def test_outputs_of_the_original(golden, close, normal, name, case, kernels):
    entry, values = golden(name).case(case)
    state, outputs = golden(name).state_dict(), entry["outputs"]
    side = entry["inputs"]["shape"][-1] // 16
    if case.endswith("interp"):
        state["pos_embed"] = first_row_taken_for_the_class(state["pos_embed"], side)
    model = linbench.create_classifier(SIZES[name], position_grid=side, kernels=kernels).eval()
    linbench.load_official(model, state)
    got = {"pos_embed": model.backbone.pos_embed}
    for index in (0, 11, 23):
        layer = model.backbone.layers[index]
        layer.register_forward_pre_hook(lambda _, inputs, i=index: got.update({f"layer{i}_residual": inputs[0]}))
        layer.mixer.register_forward_hook(lambda _, __, out, i=index: got.update({f"layer{i}_hidden": out}))
    model.head.register_forward_pre_hook(lambda _, inputs: got.update(feature=inputs[0]))
    got["logits"] = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"]))
    assert got.keys() == outputs.keys()
    for key, spec in outputs.items():
        close(got[key], values[key], spec, rtol=2e-5)


@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_and_counts_are_the_official_ones(golden, hollow, name):
    manifest = golden(name).manifest
    own = {key: list(value.shape) for key, value in hollow(SIZES[name]).state_dict().items()}
    assert own == {key: shape for key, shape in manifest["params"].items() if key not in HEAD}
    assert linbench.backbone_spec(SIZES[name]).params["with_head"] == manifest["param_count"]


@pytest.mark.parametrize(("name", "at_224", "at_1024"), [("vim-t", 7148008, 7896808), ("vim-s", 25796584, 27294184)])
def test_counts_that_papers_quote(name, at_224, at_1024):
    for convention, grid, expected in (("with_head", 14, at_224), ("with_head_1024", 64, at_1024)):
        with torch.device("meta"):
            model = linbench.create_classifier(name, position_grid=grid)
        assert sum(p.numel() for p in model.parameters()) == expected
        assert linbench.backbone_spec(name).params[convention] == expected


@pytest.mark.parametrize("name", SIZES.values())
def test_operations_of_the_spec(name):
    spec = linbench.backbone_spec(name)
    counted = {side: count_operations(name, side) for side in (224, 1024)}
    assert {side: found.macs for side, found in counted.items()} == spec.macs
    assert {side: found.operator_flops for side, found in counted.items()} == spec.operator_flops


def test_operations_are_the_published_ones():
    spec = linbench.backbone_spec("vim-s")
    convolutions = 24 * 2 * 4097 * 768 * 4
    assert spec.macs[1024] + convolutions == pytest.approx(100.9e9, rel=1e-3)
    # Nine operations for each state, two each for skip and gate, eight for a convolution of four taps and two its SiLU.
    assert spec.operator_flops[1024] == 24 * 2 * 4097 * 768 * (9 * 16 + 2 + 2 + 8 + 2)


@torch.inference_mode()
@pytest.mark.parametrize("kernels", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("options", [{}, {"class_token": False}, {"divide_out": False}])
@pytest.mark.parametrize("grid", [(3, 3), (4, 4), (3, 5), (4, 2)])
def test_formulas_written_out(image, options, kernels, grid):
    model = small(position_grid=grid, kernels=kernels, **options)
    images = image(16 * grid[0], 16 * grid[1], batch=2)
    (found,), pooled = model(images)
    divide_out = options.get("divide_out", True)
    tokens, middle = original(model.double(), images.double(), divide_out=divide_out)
    expected = tokens.mean(1)
    if model.cls_token is not None:
        expected = tokens[:, middle]
        tokens = torch.cat([tokens[:, :middle], tokens[:, middle + 1 :]], dim=1)
    torch.testing.assert_close(pooled, expected.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), tokens.float(), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_double_precision_is_kept(image):
    model = small(position_grid=(2, 3)).double()
    images = image(32, 48).double()
    tokens, middle = original(model, images)
    torch.testing.assert_close(model(images).pooled, tokens[:, middle], rtol=1e-10, atol=1e-12)


def test_the_middle_token_is_put_in_and_taken_out():
    tokens = torch.arange(2 * 15 * 3.0).view(2, 15, 3)
    token = torch.full((2, 1, 3), -1.0)
    joined = insert_middle_token(tokens, token)
    assert (joined[:, 7] == -1).all()
    assert (joined == -1).sum() == token.numel()
    for found, expected in zip(split_middle_token(joined), (tokens, token), strict=True):
        assert torch.equal(found, expected)


def test_an_embedding_is_resized_around_its_middle_row():
    embedding = torch.randn(1, 197, 5, generator=torch.Generator().manual_seed(0))
    assert resize_around_middle_token(embedding, (14, 14)) is embedding
    grown = resize_around_middle_token(embedding, (16, 16))
    assert torch.equal(grown[:, 128], embedding[:, 98])
    patches = torch.cat([embedding[:, :98], embedding[:, 99:]], dim=1)
    torch.testing.assert_close(torch.cat([grown[:, :128], grown[:, 129:]], dim=1), bicubic(patches, 16))
    assert (grown - first_row_taken_for_the_class(embedding, 16)).abs().max() > 0.1
    oblong = resize_around_middle_token(embedding, (3, 5))
    assert torch.equal(oblong[:, 7], embedding[:, 98])
    assert resize_around_middle_token(oblong, (3, 5), old=(3, 5)) is oblong
    assert torch.equal(resize_around_middle_token(oblong, (2, 2), old=(3, 5))[:, 2], embedding[:, 98])
    with pytest.raises(UsageError, match="197"):
        resize_around_middle_token(torch.zeros(1, 198, 5), (3, 3))


@torch.inference_mode()
def test_other_sizes_and_other_position_grids_agree(image):
    model = small(position_grid=6)
    for height, width in ((64, 64), (128, 128)):
        moved = linbench.create_backbone("vim-t", depth=2, position_grid=height // 16).eval()
        linbench.load_official(moved, model.state_dict())
        assert moved.pos_embed.shape == (1, height * width // 256 + 1, 192)
        for first, second in zip(model(image(height, width)), moved(image(height, width)), strict=True):
            torch.testing.assert_close(first, second)


@torch.inference_mode()
def test_an_oblong_image(image):
    model = small(position_grid=6)
    images = image(48, 80)
    (found,), pooled = model(images)
    moved = linbench.create_backbone("vim-t", depth=2, position_grid=(3, 5)).eval()
    linbench.load_official(moved, model.state_dict())
    tokens, middle = original(moved, images)
    torch.testing.assert_close(pooled, tokens[:, middle], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0, :, 1, 4], tokens[0, 10], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0, :, 1, 1], tokens[0, 6], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_in_its_file(tmp_path):
    state = small().state_dict()
    extra = {"rope.freqs_cos": torch.zeros(196, 96), "rope.freqs_sin": torch.zeros(196, 96)}
    head = {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    torch.save({"model": {f"module.{key}": value for key, value in {**state, **extra, **head}.items()}}, tmp_path / "v")
    model = linbench.create_backbone("vim-t", depth=2, weights=str(tmp_path / "v"))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("grid", [14, 8, (5, 7)])
def test_without_class_token_a_checkpoint_gives_what_is_left(grid):
    state = small().state_dict()
    model = linbench.create_classifier("vim-t", depth=2, class_token=False, position_grid=grid)
    head = {"head.weight": torch.ones(1000, 192), "head.bias": torch.ones(1000)}
    linbench.load_official(model, {**state, **head})
    rows = torch.cat([state["pos_embed"][:, :98], state["pos_embed"][:, 99:]], dim=1)
    if grid == (5, 7):
        assert model.backbone.pos_embed.shape == (1, 35, 192)
    else:
        torch.testing.assert_close(model.backbone.pos_embed.data, rows if grid == 14 else bicubic(rows, grid))
    assert torch.equal(model.head.weight, head["head.weight"])
    linbench.load_official(model, model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": torch.zeros(1, 199, 192)}, r"1 of another shape: pos_embed \(1, 199, 192\)"),
        ({"pos_embed": torch.zeros(1, 196, 192)}, r"1 of another shape: pos_embed \(1, 196, 192\)"),
        ({"pos_embed": torch.zeros(197, 192)}, r"1 of another shape: pos_embed \(197, 192\)"),
        ({"pos_embed": torch.zeros(1, 257, 384)}, r"1 of another shape: pos_embed \(1, 197, 384\)"),
        ({"fpn1.0.weight": torch.zeros(1)}, r"1 unexpected: fpn1.0.weight"),
    ],
)
def test_weights_that_do_not_fit(change, message):
    model = small()
    with pytest.raises(WeightsError, match=message):
        linbench.load_official(model, {**model.state_dict(), **change})


@torch.inference_mode()
def test_the_residual_stream_is_float32_in_a_half_precision_model(image):
    model = small()
    expected = model(image(64, 96))
    seen = []
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    found = model.bfloat16()(image(64, 96).bfloat16())
    assert seen == [torch.float32] * 2
    assert found.maps[0].dtype == found.pooled.dtype == torch.bfloat16
    assert (found.maps[0].float() - expected.maps[0]).abs().max() < 0.05 * expected.maps[0].abs().max()


def test_gradients_with_and_without_checkpointing(image):
    gradients = []
    for checkpointing in (False, True):
        model = small()
        model.gradient_checkpointing = checkpointing
        (found,), pooled = model(image(48, 64))
        (found.square().mean() + pooled.square().mean()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        gradients.append([parameter.grad for parameter in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_stochastic_depth_grows_to_its_last_value():
    layers = linbench.create_backbone("vim-t", depth=3, drop_path=0.2).layers
    assert [getattr(layer.drop_path, "drop_prob", 0.0) for layer in layers] == [0.0, 0.1, 0.2]


def test_initial_values():
    torch.manual_seed(0)
    mixer = linbench.create_backbone("vim-t", depth=24).layers[3].mixer
    steps = F.softplus(mixer.dt_proj.bias)
    assert 1e-3 <= steps.min() < 2e-3
    assert 5e-2 < steps.max() <= 0.1001
    assert mixer.dt_proj.weight.abs().max() <= 12**-0.5
    assert not mixer.dt_proj_b.bias.any()
    assert mixer.out_proj.weight.abs().max().item() == pytest.approx((384 * 24) ** -0.5, rel=1e-2)
    for rates, skips in ((mixer.A_log, mixer.D), (mixer.A_b_log, mixer.D_b)):
        torch.testing.assert_close(rates.exp(), torch.arange(1.0, 17).expand(384, 16))
        assert (skips == 1).all()


@torch.inference_mode()
@pytest.mark.parametrize("options", [{}, {"class_token": False}])
def test_compiles_into_one_graph(image, options):
    model = small(position_grid=4, **options)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for first, second in zip(compiled(image(64, 96)), model(image(64, 96)), strict=True):
        torch.testing.assert_close(first, second)
