"""The list of official checkpoints: what is in it is well-formed, and what is not there has a reason."""

import re

import linbench
import pytest
from linbench.backbones.checkpoints import BY_HAND, CHECKPOINTS, LICENCES, checkpoints_for
from linbench.backbones.weight_files import find_checkpoint
from linbench.errors import UsageError

LENGTHS = {"sha256": 64, "md5": 32, "git": 40}


def test_every_backbone_has_official_weights_or_a_reason_why_not():
    for name in linbench.list_backbones():
        if linbench.backbone_spec(name).family in LICENCES:
            assert bool(checkpoints_for(name)) != name.startswith(tuple(BY_HAND)), name


def test_licences_are_of_families_that_are_there():
    assert set(LICENCES) <= {linbench.backbone_spec(name).family for name in linbench.list_backbones()}


def test_names_are_unique_and_have_a_tag():
    names = [checkpoint.name for checkpoint in CHECKPOINTS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*:[a-z0-9][a-z0-9._-]*", name) for name in names)
    assert len({(c.subject, c.file) for c in CHECKPOINTS}) == len(names), "two would lie at one place"


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_a_record(checkpoint):
    assert bool(checkpoint.url) != bool(checkpoint.repo)
    assert checkpoint.address.startswith("https://")
    assert checkpoint.address.endswith("/" + checkpoint.file)
    assert checkpoint.licence
    assert checkpoint.trained_on
    assert not checkpoint.verified, "nobody has loaded the real file yet"
    if checkpoint.digest:
        kind, _, value = checkpoint.digest.partition(":")
        assert re.fullmatch(r"[0-9a-f]{6,}", value)
        assert len(value) <= LENGTHS[kind]
    assert find_checkpoint(checkpoint.name) == checkpoint


def test_what_file_names_say_of_digests():
    # PyTorch's convention is the start of the SHA-256; SAM's file names hold the start of the MD5.
    assert find_checkpoint("vit-s").digest_kind == "sha256 (8 digits)"
    assert find_checkpoint("vit-s").file.removesuffix(".pth").endswith(find_checkpoint("vit-s").digest[7:])
    for size in "blh":
        found = find_checkpoint(f"sam-vit-{size}")
        assert found.digest_kind == "sha256"
        assert found.file.removesuffix(".pth").rpartition("_")[2] not in found.digest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_s", "Did you mean vit-s"),
        ("vrwkv-l:in1k", "official:in22k-in1k, official:in22k"),
        ("efficientvmamba-t", "huggingface.co/TerryPei"),
        ("rwkvsam-s", "published no weights"),
        ("timm:resnet18", "for 'timm:resnet18': from Python, pass pretrained=True"),
        ("nothing at all", "bench weights list"),
    ],
)
def test_names_that_cannot_be_meant(name, said):
    with pytest.raises(UsageError, match=said) as caught:
        find_checkpoint(name)
    assert "\n" not in str(caught.value)
