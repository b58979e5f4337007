import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.suites.training.losses import mask_losses, point_sample, uncertain_points


def test_point_sample_reads_cell_centres_and_interpolates_between():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    centre_of_row1_col2 = torch.tensor([[[(2 + 0.5) / 4, (1 + 0.5) / 3]]])
    between_col2_and_col3 = torch.tensor([[[3 / 4, (1 + 0.5) / 3]]])
    assert point_sample(maps, centre_of_row1_col2).item() == pytest.approx(6.0)
    assert point_sample(maps, between_col2_and_col3).item() == pytest.approx(6.5)


def test_most_points_lie_where_the_logits_change_sign():
    x = torch.linspace(-8, 8, 64).expand(2, 1, 64, 64)
    points = uncertain_points(
        x, points=400, oversample=3.0, importance=0.75, generator=torch.Generator().manual_seed(0)
    )
    assert points.shape == (2, 400, 2)
    near = (points[..., 0] - 0.5).abs() < 0.17
    # 300 of 400 are the most uncertain of 1,200 candidates, so they lie within an eighth of the width of the edge.
    assert near.float().mean().item() > 0.75


def test_without_importance_points_are_uniform():
    x = torch.linspace(-8, 8, 64).expand(1, 1, 64, 64)
    points = uncertain_points(x, points=4000, oversample=3.0, importance=0.0)
    assert points[..., 0].mean().item() == pytest.approx(0.5, abs=0.03)


def test_losses_are_the_closed_forms_at_the_sampled_points():
    logits = torch.randn(3, 1, 16, 16)
    truth = (torch.rand(3, 1, 64, 64) > 0.5).float()
    sampling = {"points": 100, "oversample": 3.0, "importance": 0.5}
    losses = mask_losses(logits, truth, **sampling, generator=torch.Generator().manual_seed(7))
    where = uncertain_points(logits, **sampling, generator=torch.Generator().manual_seed(7))
    p, y = point_sample(logits, where).sigmoid(), point_sample(truth, where)
    bce = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    dice = (1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean()
    assert losses.bce.item() == pytest.approx(bce.item(), rel=1e-5)
    assert losses.dice.item() == pytest.approx(dice.item(), rel=1e-5)


def test_truth_of_another_size_is_compared_at_the_same_places():
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., :32] = 1
    right = F.interpolate(truth, size=(16, 16), mode="area") * 20 - 10
    assert mask_losses(right, truth, points=500).bce < 0.2
    assert mask_losses(-right, truth, points=500).bce > 5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 300), st.floats(0, 1))
def test_losses_are_finite_and_have_gradients(masks, points, importance):
    logits = (50 * torch.randn(masks, 1, 8, 8)).requires_grad_()
    truth = torch.randint(0, 2, (masks, 1, 32, 32))
    losses = mask_losses(logits, truth, points=points, importance=importance)
    (losses.bce + losses.dice).backward()
    assert torch.isfinite(losses.bce)
    assert 0 <= losses.dice.item() <= 1
    assert torch.isfinite(logits.grad).all()
