"""Which parameters decay, of the named backbones and of modules around them."""

import pytest
import torch
from linbench import create_backbone
from linbench.suites.training.groups import parameter_groups, spared_parameters
from torch import nn

# What beside vectors does not decay: of each backbone, the last parts of the parameters' names.
SPARED = {
    "rwkvsam-t": set(),
    "rwkvsam-s-2-2": set(),
    "vrwkv-t": {"pos_embed"},
    "vim-t": {"pos_embed", "cls_token", "A_log", "A_b_log"},
    "vmamba-t": {"A_logs"},
    "efficientvmamba-t": {"A_logs"},
    "vit-t": {"pos_embed", "cls_token"},
    "based-s": {"pos_embed"},
    "samvit-b": {"pos_embed"},
    "efficientsam-ti": {"pos_embed"},
    "tinyvit-5m": {"attention_biases"},
    "timm:vit_tiny_patch16_224": {"pos_embed", "cls_token"},
}


@pytest.mark.parametrize("name", SPARED)
def test_vectors_and_what_the_original_spares_do_not_decay(name):
    with torch.device("meta"):
        backbone = create_backbone(name)
    wrapped = nn.ModuleDict({"backbone": backbone})
    decayed, plain = parameter_groups(wrapped, 0.05)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): key for key, parameter in wrapped.named_parameters()}
    told = [[names[id(parameter)] for parameter in group["params"]] for group in (decayed, plain)]
    order = list(names.values())
    for group in told:
        assert [order.index(key) for key in group] == sorted(order.index(key) for key in group), "the module's order"
    assert sorted(told[0] + told[1]) == sorted(order), "every parameter once"
    matrices = {key for key, parameter in wrapped.named_parameters() if parameter.ndim > 1}
    assert {key.rpartition(".")[2] for key in matrices & set(told[1])} == SPARED[name]
    assert set(told[0]) <= matrices


def test_the_mixes_of_tokens_decay_as_in_the_original():
    with torch.device("meta"):
        backbone = create_backbone("rwkvsam-t")
    decayed = {id(parameter) for parameter in parameter_groups(backbone, 0.05)[0]["params"]}
    mixes = [value for name, value in backbone.named_parameters() if "spatial_mix_" in name]
    assert mixes
    assert all(id(mix) in decayed for mix in mixes)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.head_norm = nn.LayerNorm(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def lr_scales(self):
        return {"head": 10.0, "head_norm": 2.0}

    def no_weight_decay(self):
        return {"*ody.weight"}


def test_heads_learn_faster_and_patterns_spare():
    module = nn.Sequential(Head())
    groups = parameter_groups(module, 0.1)
    names = {id(parameter): key for key, parameter in module.named_parameters()}
    assert [
        (group["lr_scale"], group["weight_decay"], [names[id(parameter)] for parameter in group["params"]])
        for group in groups
    ] == [
        (1.0, 0.1, []),
        (1.0, 0.0, ["0.body.weight", "0.body.bias"]),
        (10.0, 0.1, ["0.head.weight"]),
        (10.0, 0.0, ["0.head.bias"]),
        (2.0, 0.1, []),
        (2.0, 0.0, ["0.head_norm.weight", "0.head_norm.bias"]),
    ]
    assert spared_parameters(module) == {"0.body.weight"}
