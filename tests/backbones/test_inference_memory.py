"""What inference holds at once: strips of convolution stages give the whole map in a fraction of its bytes."""

import weakref

import linbench
import pytest
import torch
from linbench.backbones import layers, rwkvsam, strips
from linbench.backbones.layers import MBConv
from linbench.backbones.rwkv_blocks import relu_squared
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

SIDE = 256


class LiveBytes(TorchDispatchMode):
    """The largest sum, in bytes, of the storages that operations returned and that were alive at one time."""

    def __init__(self, *known):
        super().__init__()
        self.alive = self.peak = 0
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor.untyped_storage())
        return result

    def note(self, storage):
        where, size = storage.data_ptr(), storage.nbytes()
        if where not in self.seen:
            self.seen.add(where)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self.forget, where, size)

    def forget(self, where, size):
        self.seen.discard(where)
        self.alive -= size


def peak_bytes(model, images):
    known = (images, *model.parameters(), *model.buffers())
    with torch.inference_mode(), LiveBytes(*known) as live:
        model(images)
    return live.peak


@pytest.fixture
def at_most(monkeypatch):
    """`at_most(count)`: the widest map of a strip may take this many bytes."""

    def limit(count):
        def in_row_strips(*args, **kwargs):
            return strips.in_row_strips(*args, **kwargs, widest_bytes=count)

        monkeypatch.setattr(layers, "in_row_strips", in_row_strips)
        monkeypatch.setattr(rwkvsam, "in_row_strips", in_row_strips)

    return limit


@pytest.fixture
def pieces(monkeypatch):
    """How many strips or whole maps `MBConv` has computed."""
    done = []
    whole = MBConv._convolve

    def convolve(self, x):
        done.append(tuple(x.shape))
        return whole(self, x)

    monkeypatch.setattr(MBConv, "_convolve", convolve)
    return done


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 16, 37, 23), (2, 16, 32, 24), (3, 16, 5, 40)])
def test_strips_are_the_whole_block(shape, stride, dtype, at_most, pieces):
    torch.manual_seed(0)
    block = MBConv(16, 24 if stride == 2 else 16, stride=stride).to(dtype, memory_format=torch.channels_last)
    x = torch.randn(shape).to(dtype, memory_format=torch.channels_last)
    whole = block(x).detach()
    assert len(pieces) == 1
    close = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-6}
    row_bytes = block.conv1_1x1.out_channels * stride * shape[3] * x.element_size()
    for rows in (1, 2):
        pieces.clear()
        at_most(rows * row_bytes)
        with torch.no_grad():
            split = block(x)
        assert len(pieces) == shape[0] * -(-whole.shape[2] // rows)
        assert split.shape == whole.shape
        assert split.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(split, whole, **close)


def test_small_images_are_computed_in_groups(at_most, pieces):
    block = MBConv(8, 8)
    x = torch.randn(5, 8, 6, 6)
    at_most(2 * 6 * 32 * 6 * 4)
    with torch.no_grad():
        split = block(x)
    assert [shape[0] for shape in pieces] == [2, 2, 1]
    torch.testing.assert_close(split, block(x).detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "batch"), [(96, 64, 2), (208, 48, 1)])
@pytest.mark.parametrize("name", ["rwkvsam-t", "rwkvsam-s-1-1"])
def test_the_model_gives_the_same_maps_with_and_without_autograd(name, height, width, batch, image, at_most):
    torch.manual_seed(0)
    model = linbench.create_backbone(name).eval()
    images = image(height, width, batch=batch)
    whole = model(images)
    for count in (strips.WIDEST_BYTES, 40_000):
        at_most(count)
        with torch.no_grad():
            split = model(images)
        for expected, found in zip((*whole.maps, whole.pooled), (*split.maps, split.pooled), strict=True):
            scale = expected.detach().abs().max()
            torch.testing.assert_close(found / scale, expected.detach() / scale, rtol=0, atol=2e-6)


def test_gradients_a_compiler_and_a_count_get_the_whole_map(image, at_most, pieces):
    model = linbench.create_backbone("rwkvsam-t").eval()
    images = image(96, 64)
    at_most(10_000)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    assert len(pieces) > 6
    for call in (model, torch.compile(model, backend="eager", fullgraph=True)):
        pieces.clear()
        call(images)
        assert len(pieces) == 6
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        pieces.clear()
        found = compiled(images)
        assert len(pieces) == 6
        torch.testing.assert_close(found.pooled, model(images).pooled, rtol=1e-4, atol=1e-6)
    assert counter.get_total_flops() > 0


def test_squared_relu_keeps_what_autograd_needs():
    x = torch.randn(7, requires_grad=True)
    relu_squared(x * 1).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach().clamp_min(0))
    with torch.no_grad():
        torch.testing.assert_close(relu_squared(x.clone()), x.clamp_min(0) ** 2)


def test_peak_is_below_the_softmax_vits(image, at_most):
    """At an eighth of 2048, strips an eighth squared as large: every tensor is in proportion."""
    at_most(strips.WIDEST_BYTES // 64)
    images = image(SIDE, SIDE)
    peaks = {name: peak_bytes(linbench.create_backbone(name).eval(), images) for name in ("rwkvsam-s", "vit-s")}
    assert peaks["rwkvsam-s"] < peaks["vit-s"]


def test_peak_is_a_fraction_of_the_widest_map(image, at_most):
    model = linbench.create_backbone("rwkvsam-s").eval()
    images = image(SIDE, SIDE)
    widest = 4 * 64 * (SIDE // 2) ** 2 * 4
    at_most(widest)
    whole = peak_bytes(model, images)
    at_most(widest // 16)
    assert whole > widest > 2 * peak_bytes(model, images)
