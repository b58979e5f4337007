"""Refine modules: what every one keeps, what each one computes, counts, options and key names."""

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.base import Backbone, FeatureInfo, Features
from linbench.errors import UsageError, WeightsError
from linbench.heads.sam import REFINE_MODULES, StrideFourRefine, build_refine, build_sam_system, create_system
from linbench.heads.sam.refine import dcn, refine_operators
from linbench.kernels.flops import register_flop_formulas
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

BOXES = torch.tensor([[3.0, 5, 60, 90], [20, 10, 50, 40], [0, 0, 63, 95], [30, 60, 44, 70.5]])
INDEX = torch.tensor([1, 0, 1, 1])
BLOCKS = ("mamba", "rwkv")


class Patches(Backbone):
    """A backbone of one convolution a map."""

    def __init__(self):
        super().__init__()
        self.feature_info = (FeatureInfo(6, 4), FeatureInfo(10, 8), FeatureInfo(16, 16))
        self.convs = nn.ModuleList(nn.Conv2d(3, c, kernel_size=s, stride=s) for c, s in self.feature_info)

    def forward(self, images):
        maps = tuple(conv(images) for conv in self.convs)
        return Features(maps, maps[-1].mean(dim=(2, 3)))


def awake(module):
    """The module with everything that starts at zero, or nearly so, moved away from it."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "layer_scale" in name or ".offset." in name:
                parameter.normal_(std=0.3)
    return module


def refine_of(name, **options):
    torch.manual_seed(0)
    return awake(build_refine(name, fine_channels=6, middle_channels=10, **options).eval())


def arguments(prompts=4, outputs=1, height=12, width=20, images=2):
    """Mask weights, mask feature and the keyword arguments of a call."""
    generator = torch.Generator().manual_seed(2)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    maps = (normal(images, 6, height, width), normal(images, 10, height // 2, width // 2))
    call = {"maps": maps, "image_index": INDEX[:prompts] % images}
    return normal(prompts, outputs, 32), normal(prompts, 32, height, width), call


def to_double(weights, feature, call):
    return weights.double(), feature.double(), call | {"maps": tuple(m.double() for m in call["maps"])}


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", REFINE_MODULES)
def test_shapes_and_determinism(name, outputs):
    refine = refine_of(name)
    weights, feature, call = arguments(outputs=outputs)
    with torch.inference_mode():
        logits = refine(weights, feature, **call)
        assert logits.shape == (4, outputs, 12, 20)
        assert torch.equal(refine(weights, feature, **call), logits)
        nothing = refine(weights[:0], feature[:0], maps=call["maps"], image_index=INDEX[:0])
    assert nothing.shape == (0, outputs, 12, 20)


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_mask_weights_and_the_residual_are_linear(name):
    """The logits are the product of the mask weights with one refined feature, in which the mask feature stays."""
    refine = refine_of(name).double()
    weights, feature, call = to_double(*arguments(outputs=2))
    both = refine(weights.sum(dim=1, keepdim=True), feature, **call)
    torch.testing.assert_close(both, refine(weights, feature, **call).sum(dim=1, keepdim=True))
    basis = torch.eye(32, dtype=torch.float64).expand(4, -1, -1)
    refined = refine(basis, feature, **call)
    torch.testing.assert_close(torch.einsum("nmc,nchw->nmhw", weights, refined), refine(weights, feature, **call))


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_prompts_of_several_images_equal_one_by_one(name):
    torch.manual_seed(0)
    system = awake(build_sam_system(Patches(), refine=name).eval())
    images = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        both, _ = system.decode(system.encode(images), boxes=BOXES, image_index=INDEX)
        assert both.shape == (4, 1, 24, 16)
        for i in range(2):
            own = i == INDEX
            alone = system.encode(images[i : i + 1])
            together, _ = system.decode(alone, boxes=BOXES[own])
            torch.testing.assert_close(both[own], together, rtol=1e-4, atol=1e-5)
            one_by_one = [system.decode(alone, boxes=box[None])[0] for box in BOXES[own]]
            torch.testing.assert_close(torch.cat(one_by_one), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_gradients_reach_every_parameter_and_every_input(name):
    refine = refine_of(name).train()
    weights, feature, call = arguments()
    inputs = [weights, feature, *call["maps"]]
    for tensor in inputs:
        tensor.requires_grad_()
    F.softplus(refine(weights, feature, **call)).mean().backward()
    for label, tensor in [*refine.named_parameters(), *((str(list(t.shape)), t) for t in inputs)]:
        assert tensor.grad is not None, label
        assert tensor.grad.isfinite().all(), label
        assert tensor.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_gradients_are_those_of_the_function(name):
    refine = refine_of(name).double()
    weights, feature, call = to_double(*arguments(prompts=2, height=4, width=6))
    direction = torch.randn(feature.shape, generator=torch.Generator().manual_seed(3)).double()

    def loss(step):
        return refine(weights, feature + step * direction, **call).tanh().sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(step), step)
    torch.testing.assert_close(slope, (loss(1e-6) - loss(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_compiles_without_graph_breaks(name):
    refine = refine_of(name).train()
    weights, feature, call = arguments()
    torch._dynamo.reset()
    compiled = torch.compile(refine, fullgraph=True, backend="aot_eager")
    got = compiled(weights, feature, **call)
    got.sum().backward()
    gradients = [p.grad.clone() for p in refine.parameters()]
    refine.zero_grad()
    wanted = refine(weights, feature, **call)
    wanted.sum().backward()
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    for gradient, parameter in zip(gradients, refine.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-3 * float(parameter.grad.abs().max()))


@pytest.mark.parametrize("name", REFINE_MODULES)
def test_bfloat16_is_finite_and_close(name):
    refine = refine_of(name)
    weights, feature, call = arguments()
    with torch.inference_mode():
        exact = refine(weights, feature, **call)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = refine(weights, feature, **call)
        maps = tuple(m.bfloat16() for m in call["maps"])
        whole = refine.bfloat16()(weights.bfloat16(), feature.bfloat16(), **(call | {"maps": maps}))
    assert whole.dtype == torch.bfloat16
    for logits in (mixed, whole):
        assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_equal_repeating_and_concatenating(name):
    refine = refine_of(name).double()
    weights, feature, call = to_double(*arguments(outputs=3))
    maps, index = call["maps"], call["image_index"]
    joined = torch.cat([feature, refine.mr_feat_proj(maps[1][index]), refine.hr_feat_proj(maps[0][index])], dim=1)
    x = refine.entry(joined.permute(0, 2, 3, 1))
    x = refine.block(x) if name == "mamba" else refine.block(x.flatten(1, 2), (12, 20)).unflatten(1, (12, 20))
    refined = refine.exit(refine.norm(x)).permute(0, 3, 1, 2) + feature
    wanted = torch.einsum("nmc,nchw->nmhw", weights, refined)
    torch.testing.assert_close(refine(weights, feature, **call), wanted)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_see_the_whole_map(name):
    # What crosses the map is smaller than float32's rounding.
    refine = refine_of(name).double()
    weights, feature, call = to_double(*arguments(prompts=1, images=1))
    moved = feature.clone()
    moved[..., 0, 0] += 3
    changed = (refine(weights, moved, **call) - refine(weights, feature, **call)).abs()
    assert changed[..., -1, -1].max() > 0


def test_dcn_at_the_start_is_a_plain_convolution():
    torch.manual_seed(0)
    module = dcn.AlignedSum(32)
    coarse, fine = torch.randn(4, 32, 7, 9), torch.randn(2, 32, 7, 9)
    wanted = F.relu(module.convolution(coarse)) + fine[INDEX]
    torch.testing.assert_close(module(coarse, fine, INDEX), wanted, rtol=1e-4, atol=1e-5)


def test_dcn_moves_and_weights_what_it_reads():
    """Offsets of (2, -1) pixels read a shifted map; where a group's weights are 0 its channels are not read."""
    torch.manual_seed(0)
    module = dcn.AlignedSum(32)
    x = torch.randn(1, 32, 12, 12)
    offset = torch.tensor([2.0, -1.0]).repeat(18).view(1, 36, 1, 1).expand(-1, -1, 12, 12)
    weight = torch.ones(1, 18, 12, 12)
    shifted = module.convolution(torch.roll(x, (-2, 1), dims=(2, 3)))
    inner = (..., slice(1, 9), slice(2, 11))
    torch.testing.assert_close(module.deform(x, offset, weight)[inner], shifted[inner], rtol=1e-4, atol=1e-5)
    weight[:, 9:] = 0
    half = module.convolution(torch.cat([x[:, :16], torch.zeros_like(x[:, 16:])], dim=1))
    torch.testing.assert_close(module.deform(x, torch.zeros_like(offset), weight), half, rtol=1e-4, atol=1e-5)


def test_dcn_learns_where_to_read():
    """A map and its shifted copy: training the offsets alone brings one onto the other."""
    torch.manual_seed(0)
    module = dcn.AlignedSum(16)
    nn.init.dirac_(module.convolution.weight)
    nn.init.zeros_(module.convolution.bias)
    smooth = F.interpolate(torch.rand(1, 16, 6, 6), size=(24, 24), mode="bicubic").clamp(min=0)
    wanted, still = torch.roll(smooth, 2, dims=3), torch.zeros(1, 16, 24, 24)
    optimiser = torch.optim.Adam(module.offset.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(module(smooth, still, torch.tensor([0]))[..., 4:-4], wanted[..., 4:-4])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def operations(refine, prompts):
    """Multiply-adds and the operators' FLOPs on a frame of 1024 pixels over RWKV-SAM-S's maps."""
    register_flop_formulas()
    with torch.device("meta"):
        maps = (torch.empty(1, 64, 256, 256), torch.empty(1, 128, 128, 128))
        weights, feature = torch.empty(prompts, 1, 32), torch.empty(prompts, 32, 256, 256)
        index = torch.zeros(prompts, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        refine(weights, feature, maps=maps, image_index=index)
    own = sum(v for k, v in counter.get_flop_counts()["Global"].items() if str(k).startswith("linbench."))
    return (counter.get_total_flops() - own) // 2, own


@pytest.mark.parametrize("name", [name for name, entry in REFINE_MODULES.items() if entry.params])
def test_stated_counts(name):
    entry = REFINE_MODULES[name]
    with torch.device("meta"):
        refine = build_refine(name, fine_channels=64, middle_channels=128)
    assert sum(p.numel() for p in refine.parameters()) == entry.params
    one, two = operations(refine, 1), operations(refine, 2)
    assert entry.macs == (2 * one[0] - two[0], two[0] - one[0])
    assert entry.operator_flops == two[1] - one[1] == one[1]


def test_deformable_convolution_counts_as_a_convolution():
    register_flop_formulas()
    weights, feature, call = arguments()
    refine = refine_of("dcn")
    with FlopCounterMode(display=False) as counter:
        refine(weights, feature, **call).sum().backward()
    counts = {str(k): v for k, v in counter.get_flop_counts()["Global"].items()}
    forward = 2 * 9 * 32 * 32 * (12 * 20 + 6 * 10) * 4
    assert counts["torchvision.deform_conv2d"] == forward
    assert counts["torchvision._deform_conv2d_backward"] == 2 * forward


@pytest.mark.parametrize("name", BLOCKS)
def test_kernels_reach_the_operators(name):
    weights, feature, call = arguments(height=4, width=6)
    auto, plain = refine_of(name), refine_of(name, kernels="torch")
    assert used_kernels(plain) == {"torch"}
    torch.testing.assert_close(plain(weights, feature, **call), auto(weights, feature, **call), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="got 'nothing'"):
        refine_of(name, kernels="nothing")(weights, feature, **call)


def used_kernels(module):
    return {m.kernels for m in module.modules() if hasattr(m, "kernels")}


def test_options_of_systems():
    with torch.device("meta"):
        for name in REFINE_MODULES:
            refine = create_system("rwkvsam-t", refine=name, kernels="torch").mask_decoder.refine
            assert used_kernels(refine) == ({"torch"} if refine_operators(name) else set())
        assert create_system("rwkvsam-t", refine="none").mask_decoder.refine is None
        plain = create_system("timm:resnet10t+sam", refine="rwkv", kernels="torch")
        assert used_kernels(plain) == {"torch"}
        with pytest.raises(UsageError, match="calls none of LinBench's operators"):
            create_system("timm:resnet10t+sam", refine="dcn", kernels="torch")
        with pytest.raises(UsageError, match="calls none of LinBench's operators"):
            build_sam_system(Patches(), refine="conv", kernels="torch")
        for name in REFINE_MODULES:
            with pytest.raises(UsageError, match=f"refine='{name}' needs maps of strides 4 and 8"):
                create_system("vit-t+sam", refine=name)
        with pytest.raises(UsageError, match=r"^unknown refine module 'rkwv'; expected auto, none, .*conv.*rwkv.*dcn$"):
            create_system("rwkvsam-t", refine="rkwv")


@pytest.mark.parametrize("wrapper", ["", "module."])
@pytest.mark.parametrize("name", REFINE_MODULES)
def test_state_comes_back_through_load_official(name, wrapper):
    system = build_sam_system(Patches(), refine=name)
    again = build_sam_system(Patches(), refine=name)
    linbench.load_official(again, {wrapper + key: value for key, value in system.state_dict().items()})
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in system.state_dict().items())
    decoder = build_sam_system(Patches(), refine=name).mask_decoder
    linbench.load_official(decoder, system.state_dict())
    assert all(torch.equal(v, decoder.state_dict()[k]) for k, v in system.mask_decoder.state_dict().items())


def test_weights_of_another_refine_module_are_refused():
    conv = build_sam_system(Patches(), refine="conv").state_dict()
    for name in ("mamba", "rwkv", "dcn"):
        with pytest.raises(WeightsError, match=r"missing.*unexpected"):
            linbench.load_official(build_sam_system(Patches(), refine=name), conv)


def test_variants_that_share_projections_share_their_names():
    """What is distilled or copied from a teacher with the conv module fits the others that fuse at stride 4."""
    conv = refine_of("conv").state_dict()
    for name in REFINE_MODULES:
        refine = refine_of(name)
        if isinstance(refine, StrideFourRefine):
            own = {k: v.shape for k, v in refine.state_dict().items() if k[:12] in ("hr_feat_proj", "mr_feat_proj")}
            assert own == {k: v.shape for k, v in conv.items() if not k.startswith("mix")}


def test_summaries_say_whose_design_it_is():
    for name in ("mamba", "rwkv", "dcn"):
        assert "LinBench's reading" in REFINE_MODULES[name].summary
        assert "LinBench's reading" in __import__(f"linbench.heads.sam.refine.{name}", fromlist=["x"]).__doc__
