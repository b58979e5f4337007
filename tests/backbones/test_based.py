"""BASED-S: what its two kinds of layer compute, and in which order they come."""

import linbench
import pytest
import torch
from linbench.backbones.based import TaylorAttention, WindowAttention
from linbench.errors import UsageError


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return linbench.create_backbone("based-s").eval()


def heads(mixer, x, count=6):
    """Queries, keys and values `[B, heads, N, E]` of a mixer."""
    widths = mixer.qkv.out_features - 384
    parts = mixer.qkv(x).split([widths // 2, widths // 2, 384], dim=-1)
    return (part.view(*x.shape[:2], count, -1).transpose(1, 2) for part in parts)


def test_layers_take_turns(model):
    mixers = [block.attn for block in model.blocks]
    assert [type(mixer) for mixer in mixers] == [TaylorAttention, WindowAttention] * 6
    assert [mixer.shift for mixer in mixers[1::2]] == [0, 4] * 3
    assert {mixer.qkv.out_features for mixer in mixers[::2]} == {6 * (16 + 16) + 384}


@torch.inference_mode()
def test_taylor_layer_is_the_quadratic_form(model):
    mixer, x = model.blocks[0].attn, torch.randn(2, 35, 384, generator=torch.Generator().manual_seed(1))
    q, k, v = heads(mixer, x)
    scores = q @ k.mT / 4
    weights = 1 + scores + scores.square() / 2
    out = (weights / weights.sum(-1, keepdim=True)) @ v
    torch.testing.assert_close(mixer(x, (5, 7)), mixer.proj(out.transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("layer", "shift"), [(1, 0), (3, 4)])
def test_window_layer_sees_its_window(model, layer, shift):
    mixer, x = model.blocks[layer].attn, torch.randn(1, 9 * 14, 384, generator=torch.Generator().manual_seed(1))
    q, k, v = heads(mixer, x)
    rows, columns = torch.arange(9).repeat_interleave(14), torch.arange(14).repeat(9)
    window = (rows + shift) // 8 * 10 + (columns + shift) // 8
    scores = (q @ k.mT / 8).masked_fill(window[:, None] != window, -torch.inf)
    out = scores.softmax(-1) @ v
    torch.testing.assert_close(mixer(x, (9, 14)), mixer.proj(out.transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_every_pixel_reaches_every_place(model, image):
    images = image(192, 160)
    other = images.clone()
    other[..., -16:, -16:] += 1
    assert (model(images).maps[0] != model(other).maps[0]).any(1).all()


@torch.inference_mode()
def test_backends_agree_and_another_is_refused(model, image):
    plain = linbench.create_backbone("based-s", kernels="reference").eval()
    plain.load_state_dict(model.state_dict())
    images = image(80, 144)
    torch.testing.assert_close(plain(images).maps[0], model(images).maps[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="taylor_linear_attention has torch, reference"):
        linbench.create_backbone("based-s", kernels="sdpa").eval()(images)


def test_trains_under_autocast(image):
    model = linbench.create_backbone("based-s", depth=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model(image(64, 96))
    features.maps[0].float().square().mean().backward()
    for block in model.blocks:
        assert block.attn.qkv.weight.grad.abs().sum() > 0
        assert block.attn.qkv.weight.grad.isfinite().all()


@torch.inference_mode()
def test_compiles_whole(image):
    model = linbench.create_backbone("based-s", depth=4).eval()
    images = image(48, 80)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], model(images).maps[0])
