"""RWKV-SAM's backbone against outputs of the original code, in both conventions of the WKV operator."""

import linbench
import pytest
import torch

OVERRIDES = {
    "rwkvsam_tiny_mlp2": ("rwkvsam-t", {}),
    "rwkvsam_tiny_mlp4": ("rwkvsam-t", {"mlp_ratio": 4.0}),
    "rwkvsam_tiny_mlp2_pos": ("rwkvsam-t", {"position_grid": 14}),
    "rwkvsam_tiny_mlp2_final": ("rwkvsam-t-ade", {}),
    "rwkvsam_small_mlp2": ("rwkvsam-s", {}),
    "rwkvsam_small_mlp4": ("rwkvsam-s", {"mlp_ratio": 4.0}),
    "rwkvsam_small_mlp2_final": ("rwkvsam-s-ade", {}),
    "rwkvsam_base_mlp2": ("rwkvsam-b", {}),
    "rwkvsam_base_mlp4": ("rwkvsam-b", {"mlp_ratio": 4.0}),
    "rwkvsam_base_mlp2_final": ("rwkvsam-b-ade", {}),
    "rwkvsam_large_mlp2": ("rwkvsam-b", {"dims": (160, 320, 1024)}),
}
CASES = [
    ("rwkvsam_tiny_mlp2", "224x224"),
    ("rwkvsam_tiny_mlp2", "256x192"),
    ("rwkvsam_tiny_mlp4", "224x224"),
    ("rwkvsam_tiny_mlp2_pos", "224x224"),
    ("rwkvsam_tiny_mlp2_pos", "256x256"),
    ("rwkvsam_tiny_mlp2_final", "224x224"),
    ("rwkvsam_small_mlp2", "224x224"),
    ("rwkvsam_small_mlp4", "128x160"),
]


def official(golden, name, **more):
    """The model of a golden with the golden's weights."""
    backbone, overrides = OVERRIDES[name]
    model = linbench.create_backbone(backbone, **overrides, **more).eval()
    linbench.load_official(model, golden(name).state_dict())
    return model


def wanted(values, index, convention):
    """Name of the array that holds map `index` as this convention computes it."""
    formula = f"feat{index}__formula"
    return formula if convention == "paper" and formula in values else f"feat{index}"


@torch.inference_mode()
@pytest.mark.parametrize("convention", ["paper", "cuda"])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_feature_maps(golden, close, normal, name, case, convention):
    middle = {} if name.endswith("_final") else {"middle": True}
    model = official(golden, name, convention=convention, **middle)
    entry, values = golden(name).case(case)
    maps = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"])).maps
    assert len(maps) == 4
    for index, got in enumerate(maps):
        key = wanted(values, index, convention)
        close(got, values[key], entry["outputs"][key])


@torch.inference_mode()
def test_without_middle_the_normalised_map_comes_third(golden, close, normal):
    model = official(golden, "rwkvsam_tiny_mlp2", convention="cuda")
    entry, values = golden("rwkvsam_tiny_mlp2").case("256x192")
    features = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"]))
    for got, key in zip(features.maps, ("feat0", "feat1", "feat3"), strict=True):
        close(got, values[key], entry["outputs"][key])
    torch.testing.assert_close(features.pooled, features.maps[-1].mean(dim=(2, 3)))


@torch.inference_mode()
@pytest.mark.parametrize("convention", ["paper", "cuda"])
def test_conventions_are_told_apart(golden, close, normal, convention):
    model = official(golden, "rwkvsam_tiny_mlp2", convention=convention)
    entry, values = golden("rwkvsam_tiny_mlp2").case("224x224")
    got = model(normal(entry["inputs"]["seed"], entry["inputs"]["shape"])).maps[-1]
    error = {key: close(got, values[key], entry["outputs"][key], rtol=1.0) for key in ("feat3", "feat3__formula")}
    own, other = ("feat3__formula", "feat3") if convention == "paper" else ("feat3", "feat3__formula")
    assert 3 * error[own] < error[other]


@pytest.mark.parametrize("name", OVERRIDES)
def test_names_shapes_and_count_are_the_official_ones(golden, hollow, name):
    backbone, overrides = OVERRIDES[name]
    manifest = golden(name).manifest
    model = hollow(backbone, **overrides)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == manifest["params"]
    assert sum(p.numel() for p in model.parameters()) == manifest["param_count"]
