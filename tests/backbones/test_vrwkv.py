"""Vision-RWKV against outputs of the original code, and its larger sizes' norms against the equations."""

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.vrwkv import VrwkvBlock
from linbench.errors import WeightsError
from linbench.kernels import bi_wkv, q_shift

NAMES = {"vrwkv_tiny": "vrwkv-t", "vrwkv_small": "vrwkv-s", "vrwkv_base": "vrwkv-b"}
CASES = [("vrwkv_tiny", "224x224"), ("vrwkv_tiny", "256x256"), ("vrwkv_small", "224x224")]


@torch.inference_mode()
@pytest.mark.parametrize("convention", ["paper", "cuda"])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_original_outputs(golden, close, normal, name, case, convention):
    model = linbench.create_classifier(NAMES[name], convention=convention).eval()
    linbench.load_official(model, golden(name).state_dict())
    entry, values = golden(name).case(case)
    found = {}
    hooks = [
        model.backbone.layers[i].register_forward_hook(lambda _, __, out, i=i: found.update({f"block{i}": out}))
        for i in (0, 5)
    ]
    features = model.backbone(normal(entry["inputs"]["seed"], entry["inputs"]["shape"]))
    for hook in hooks:
        hook.remove()
    found |= {"feature": features.maps[0], "logits": model.head(features.pooled)}
    suffix = "__formula" if convention == "paper" else ""
    for key, got in found.items():
        close(got, values[key + suffix], entry["outputs"][key + suffix], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_count_are_the_official_ones(golden, name):
    manifest = golden(name).manifest
    with torch.device("meta"):
        model = linbench.create_classifier(NAMES[name])
    own = {
        key.replace("patch_embed.proj.", "patch_embed.projection.").replace("head.", "head.fc."): list(value.shape)
        for key, value in model.state_dict().items()
    }
    assert own == manifest["params"]
    assert sum(p.numel() for p in model.parameters()) == manifest["param_count"]


@pytest.mark.parametrize("wrap", ["", "module.", "model.module."])
def test_backbone_takes_a_classifiers_checkpoint(golden, wrap):
    state = golden("vrwkv_tiny").state_dict()
    model = linbench.create_backbone("vrwkv-t")
    linbench.load_official(model, {wrap + key: value for key, value in state.items()})
    assert torch.equal(model.patch_embed.proj.weight, state["backbone.patch_embed.projection.weight"])
    assert torch.equal(model.layers[0].ln0.bias, state["backbone.layers.0.ln0.bias"])


def official_large():
    """Names and shapes of the official VRWKV-L checkpoint, as its code builds them."""
    dim, hidden, shapes = 1024, 4096, {}
    shapes["backbone.pos_embed"] = (1, 144, dim)
    shapes["backbone.patch_embed.projection.weight"] = (dim, 3, 16, 16)
    shapes["backbone.patch_embed.projection.bias"] = (dim,)
    for i in range(24):
        layer = f"backbone.layers.{i}."
        norms = ["ln1", "ln2", "att.key_norm"] + (["ln0"] if i == 0 else [])
        shapes |= {f"{layer}{norm}.{part}": (dim,) for norm in norms for part in ("weight", "bias")}
        shapes |= {f"{layer}ffn.key_norm.{part}": (hidden,) for part in ("weight", "bias")}
        shapes |= {layer + key: (dim,) for key in ("gamma1", "gamma2", "att.spatial_decay", "att.spatial_first")}
        shapes |= {f"{layer}att.spatial_mix_{x}": (1, 1, dim) for x in "kvr"}
        shapes |= {f"{layer}ffn.spatial_mix_{x}": (1, 1, dim) for x in "kr"}
        linears = ("att.key", "att.value", "att.receptance", "att.output", "ffn.receptance")
        shapes |= {f"{layer}{linear}.weight": (dim, dim) for linear in linears}
        shapes |= {f"{layer}ffn.key.weight": (hidden, dim), f"{layer}ffn.value.weight": (dim, hidden)}
    shapes |= {"backbone.ln1.weight": (dim,), "backbone.ln1.bias": (dim,)}
    shapes |= {"head.0.weight": (3072, dim), "head.0.bias": (3072,)}
    return shapes | {"head.2.weight": (1000, 3072), "head.2.bias": (1000,)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_large_takes_the_official_names_two_layer_head_included(prefix):
    with torch.device("meta"):
        model = linbench.create_classifier("vrwkv-l")
        state = {prefix + key: torch.zeros(shape) for key, shape in official_large().items()}
    linbench.load_official(model, state)
    assert sum(value.numel() for value in state.values()) == sum(p.numel() for p in model.parameters()) == 334881768


def test_a_linear_head_is_no_head_for_large(golden):
    state = golden("vrwkv_tiny").state_dict()
    with torch.device("meta"):
        model = linbench.create_classifier("vrwkv-l")
    with pytest.raises(WeightsError, match="missing") as caught:
        linbench.load_official(model, state)
    assert "\n" not in str(caught.value)


def test_two_layer_head(image):
    model = linbench.create_classifier("vrwkv-t", num_classes=5, head_hidden=7).eval()
    with torch.inference_mode():
        images = image(32, 48)
        pooled = model.backbone(images).pooled
        first, _, last = model.head
        torch.testing.assert_close(model(images), last(torch.tanh(first(pooled))))
    assert list(model.head.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


@torch.inference_mode()
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("key_norm", [False, True])
@pytest.mark.parametrize("post_norm", [False, True])
def test_block_equations(layer, scale, key_norm, post_norm):
    torch.manual_seed(0)
    block = VrwkvBlock(
        8,
        layer=layer,
        depth=2,
        mlp_ratio=4.0,
        drop_path=0.0,
        layer_scale=scale,
        post_norm=post_norm,
        key_norm=key_norm,
        convention="paper",
        kernels="auto",
    ).eval()
    for parameter in block.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    p = dict(block.named_parameters())
    grid, x = (3, 5), torch.randn(2, 15, 8)

    def norm(name, y):
        return F.layer_norm(y, y.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-5)

    def mixed(part, which, y):
        mu = p[f"{part}.spatial_mix_{which}"]
        return mu * y + (1 - mu) * q_shift(y, grid, backend="torch")

    def spatial(y):
        k, v, r = (
            mixed("att", which, y) @ p[f"att.{linear}.weight"].T
            for which, linear in (("k", "key"), ("v", "value"), ("r", "receptance"))
        )
        wkv = bi_wkv(p["att.spatial_decay"] / 15, p["att.spatial_first"] / 15, k, v, backend="reference")
        wkv = norm("att.key_norm", wkv) if key_norm else wkv
        return (torch.sigmoid(r) * wkv) @ p["att.output.weight"].T

    def channel(y):
        k = F.relu(mixed("ffn", "k", y) @ p["ffn.key.weight"].T) ** 2
        k = norm("ffn.key_norm", k) if key_norm else k
        return torch.sigmoid(mixed("ffn", "r", y) @ p["ffn.receptance.weight"].T) * (k @ p["ffn.value.weight"].T)

    y = norm("ln0", x) if layer == 0 else x
    for mix, name, gamma in ((spatial, "ln1", "gamma1"), (channel, "ln2", "gamma2")):
        branch = norm(name, mix(y)) if post_norm else mix(norm(name, y))
        y = y + (branch if scale is None else p[gamma] * branch)
    torch.testing.assert_close(block(x, grid), y, rtol=1e-4, atol=1e-5)


def test_initialisation_by_size(hollow):
    assert linbench.create_backbone("vrwkv-t").layers[3].gamma1 is None
    small = linbench.create_backbone("vrwkv-s")
    assert torch.equal(small.layers[3].gamma2, torch.ones(384))
    decay = small.layers[0].att.spatial_decay
    assert decay[[0, -1]].tolist() == [-5.0, 3.0]
    assert [hollow(name).layers[0].ln1.eps for name in ("vrwkv-b", "vrwkv-l")] == [1e-5, 1e-5]


@torch.inference_mode()
def test_compiles_whole(image):
    model = linbench.create_backbone("vrwkv-t", depth=2, key_norm=True, post_norm=True, layer_scale=0.1).eval()
    images = image(48, 80)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], model(images).maps[0])
