"""The SAM-Lightening-style encoder: equal to full attention where nothing is left out, sparse where it should be."""

import linbench
import pytest
import torch
from linbench.errors import UsageError

NAME = "sam-lightening-style"


@torch.inference_mode()
@pytest.mark.parametrize("branches", [(((54, 1),),), (((4096, 1),),), (((54, 1),), ((100, 1), (54, 1)))])
def test_one_segment_without_gaps_is_full_attention(image, branches):
    torch.manual_seed(0)
    dilated = linbench.create_backbone(NAME, branches=branches, depth=4).eval()
    full = linbench.create_backbone("vit-s", depth=4, class_token="none", final_norm=False, attention="eager").eval()
    full.load_state_dict(dilated.state_dict())
    images = image(96, 144)
    for found, expected in zip(dilated(images), full(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_its_values_stand_in_the_spec(hollow):
    spec = linbench.backbone_spec(NAME)
    assert "unpublished" in spec.note
    mixers = [block.attn for block in hollow(NAME).blocks]
    assert [mixer.branches for mixer in mixers] == [((1024, 2),), ((4096, 4),)] * 6
    assert {mixer.offsets for mixer in mixers} == {(0, 1, 2, 3, 4, 5)}


@torch.inference_mode()
def test_a_head_sees_every_second_token_of_its_segment():
    torch.manual_seed(0)
    model = linbench.create_backbone(NAME, depth=1, branches=(((8, 2),),))
    mixer = model.blocks[0].attn
    q, k, v = (torch.randn(1, 6, 16, 4) for _ in range(3))
    out = mixer.attend(q, k, v, (4, 4))
    head, token = 1, 11
    seen = [9, 11, 13, 15]
    weights = (q[0, head, token] @ k[0, head, seen].T / 2).softmax(-1)
    torch.testing.assert_close(out[0, head, token], weights @ v[0, head, seen])
    assert (out[0, head, ::2] == 0).all()
    assert (out.abs().sum(dim=(1, 3)) > 0).all(), "the heads together take all tokens"


@torch.inference_mode()
def test_backends_agree_at_odd_sizes(image):
    torch.manual_seed(0)
    model = linbench.create_backbone(NAME, branches=(((10, 3), (35, 2)), ((16, 2),)), depth=4).eval()
    plain = linbench.create_backbone(NAME, branches=(((10, 3), (35, 2)), ((16, 2),)), depth=4, kernels="reference")
    plain.eval().load_state_dict(model.state_dict())
    images = image(80, 112)
    torch.testing.assert_close(model(images).maps[0], plain(images).maps[0], rtol=1e-4, atol=1e-4)


def test_wrong_offsets_are_named(image):
    model = linbench.create_backbone(NAME, offsets=(0, 1), depth=1)
    with pytest.raises(UsageError, match="offsets: expected 6"):
        model(image(32, 32))


@torch.inference_mode()
def test_compiles_whole(image):
    model = linbench.create_backbone(NAME, depth=2).eval()
    images = image(48, 80)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], model(images).maps[0])
