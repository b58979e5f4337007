"""SAM's choice among its masks: single token, best predicted, best by the truth."""

import pytest
import torch
from linbench.errors import UsageError
from linbench.heads.sam import build_mask_decoder, choose_masks, create_system, mask_ious
from linbench.heads.sam.system import System


def discs(sizes, side=32):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = ((x - side / 2) ** 2 + (y - side / 2) ** 2).sqrt()
    return torch.stack([size - distance for size in sizes])


def test_best_and_oracle_choose_for_each_prompt():
    logits = torch.stack([discs([4, 8, 12]), discs([4, 8, 12])])
    quality = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.3, 0.8]])
    best, score = choose_masks(logits, quality, choice="best")
    assert torch.equal(best[:, 0], torch.stack([logits[0, 0], logits[1, 2]]))
    torch.testing.assert_close(score, torch.tensor([[0.9], [0.8]]))
    truth = torch.stack([discs([12])[0], discs([8])[0]]) > 0
    oracle, score = choose_masks(logits, quality, choice="oracle", truth=truth)
    assert torch.equal(oracle[:, 0], torch.stack([logits[0, 2], logits[1, 1]]))
    torch.testing.assert_close(score, torch.tensor([[0.5], [0.3]]))


def test_ious_at_the_truths_resolution():
    logits, truth = discs([4, 8])[None], discs([8])
    ious = mask_ious(logits, truth > 0)
    assert ious[0, 1] == 1
    areas = (logits[0] > 0).sum(dim=(1, 2))
    torch.testing.assert_close(ious[0, 0], areas[0] / areas[1])
    fine = torch.nn.functional.interpolate(discs([8])[None], size=(64, 96), mode="bilinear", align_corners=False)
    assert mask_ious(logits, fine[0] > 0)[0, 1] == 1
    assert mask_ious(torch.full((1, 1, 8, 8), -1.0), torch.zeros(1, 8, 8)) == 1
    assert mask_ious(torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8)).shape == (0, 3)


def test_single_is_the_mask_of_its_own_token():
    logits, quality = torch.randn(2, 1, 8, 8), torch.rand(2, 1)
    same, score = choose_masks(logits, quality, choice="single")
    assert torch.equal(same, logits)
    assert torch.equal(score, quality)


def test_bad_choices():
    logits, quality = torch.randn(2, 3, 8, 8), torch.rand(2, 3)
    with pytest.raises(UsageError, match="unknown mask choice 'worst'"):
        choose_masks(logits, quality, choice="worst")
    with pytest.raises(UsageError, match="one token"):
        choose_masks(logits, quality, choice="single")
    with pytest.raises(UsageError, match="oracle"):
        choose_masks(logits, quality, choice="oracle")
    with pytest.raises(UsageError, match="oracle"):
        choose_masks(logits, quality, choice="best", truth=torch.zeros(2, 8, 8))
    with pytest.raises(UsageError, match=r"expected \[2, H, W\]"):
        choose_masks(logits, quality, choice="oracle", truth=torch.zeros(3, 8, 8))


@torch.inference_mode()
def test_of_a_system():
    torch.manual_seed(0)
    system: System = create_system("vit-t+sam", depth=1, single_mask=False).eval()
    embedding = system.encode(torch.randn(1, 3, 64, 96))
    boxes = torch.tensor([[3.0, 5, 60, 50], [20, 10, 50, 40]])
    three, quality = system.decode(embedding, boxes=boxes, multimask=True)
    for wanted in range(3):
        chosen, score = system.predict(embedding, boxes=boxes, choice="oracle", truth=three[:, wanted] > 0)
        assert torch.equal(chosen[:, 0], three[:, wanted])
        assert torch.equal(score[:, 0], quality[:, wanted])
    best, score = system.predict(embedding, boxes=boxes, choice="best")
    assert torch.equal(score[:, 0], quality.amax(dim=1))
    assert best.shape == (2, 1, 16, 24)
    assert torch.equal(system.predict(embedding, boxes=boxes)[0], system.decode(embedding, boxes=boxes)[0])
    system.mask_decoder = build_mask_decoder(single_mask=True).eval()
    with pytest.raises(UsageError, match="one mask token"):
        system.predict(embedding, boxes=boxes, choice="best")
