"""One subject inside its worker: built once, then prepared and timed at one resolution after another."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from ...backbones import backbone_spec, create_backbone
from ...errors import UsageError
from ...results.provenance import collect
from .environment import recorded_environment
from .memory import CudaMeter, HostMeter, MemoryMeter
from .sampling import time_block, warm_up

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_INPUTS = {"cpu": 1, "cuda": 4}
_MATMUL_SIDES = {"cpu": (512, 2048), "cuda": (2048, 8192)}
_MATMUL_REPEATS = 4
_SLOW_MATMUL_S = 1.0


class Session:
    """A subject: a model with frozen settings on one device.

    Args:
        params: The parameters of its cells that do not change with the resolution; `backbone` is its name.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._device = torch.device(params["device"])
        self._dtype = DTYPES[params["dtype"]]
        self._layout = torch.channels_last if params["channels_last"] else torch.contiguous_format
        self._meter: MemoryMeter = CudaMeter(self._device) if self._device.type == "cuda" else HostMeter()
        self._inputs: list[Tensor] = []
        self._calls = 0
        self._cold = True
        self._loaded = False
        self._matmul_flops_per_s = 0.0
        self._freeze_settings()
        started = time.perf_counter()
        torch.manual_seed(params["seed"])
        model = _build(params).eval().requires_grad_(False).to(device=self._device, dtype=self._dtype)
        self._model = model.to(memory_format=self._layout)
        self._synchronise()
        self._build_s = time.perf_counter() - started
        self._limit_cuda()
        gc.freeze()  # what the imports left behind need not be searched before every block

    def facts(self) -> dict[str, Any]:
        """What is known before it runs: cold times, weights, provenance with flags and kernel backends."""
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return {
            "build_s": self._build_s,
            "weights_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            "provenance": {
                **collect(str(self._device)),
                "kernels": self._kernel_backends(),
                "flags": {
                    "inference_mode": True,
                    "autocast": False,
                    "channels_last": self._params["channels_last"],
                    "compile": self._params["compile"],
                    "inputs": _INPUTS[self._device.type],
                    "cache": "warm",
                    "gc_in_blocks": False,
                    "environment": recorded_environment(),
                },
            },
        }

    def prepare(self, resolution: int, *, warmup_s: float) -> dict[str, Any]:
        """Make the inputs, call the model for the first time at this size, check its output and warm up.

        Raises:
            UsageError: The model cannot serve this size.
        """
        self.release()
        matmul = self._matmul_rate()
        macs = self._count_macs(resolution)
        self._inputs = self._make_inputs(resolution)
        with self._limited(), torch.inference_mode():
            self._meter.start()
            first_s, finite = self._first_call()
            if not self._loaded:
                # The first call ever also loads libraries and kernels, which are no activations.
                self._loaded = True
                self._meter.release()
                self._meter.start()
                self._step()
            self._cold = False
            warm = warm_up(lambda: self._step()[0], limit_s=warmup_s) if first_s < warmup_s else None
        peak = self._meter.read()
        return {
            "finite": finite,
            "first_call_s": first_s,
            "iteration_s": warm.iteration_s if warm else first_s,
            "warmup_iterations": warm.iterations if warm else 1,
            "warmup_stable": warm.stable if warm else None,
            "macs": macs,
            "matmul_flops_per_s": matmul,
            "held_bytes": max(0, peak.peak - peak.before),
            "available_bytes": self._meter.available(),
        }

    def _first_call(self) -> tuple[float, bool]:
        started = time.perf_counter()
        output = self._model(self._inputs[0])
        self._synchronise()
        seconds = time.perf_counter() - started
        return seconds, all(bool(tensor.isfinite().all()) for tensor in _tensors(output))

    def block(self, iterations: int) -> dict[str, Any]:
        """Durations of `iterations` calls in ms, by the host's clock and on CUDA the device's, and memory so far."""
        with self._limited(), torch.inference_mode():
            if self._cold:
                self._step()
                self._cold = False
            samples = time_block(self._step, iterations)
        peak = self._meter.read()
        return {
            "wall_ms": [1000 * wall for wall, _ in samples],
            "device_ms": [device for _, device in samples if device is not None],
            "peak_bytes": peak.peak,
            "activation_bytes": max(0, peak.peak - peak.before),
            "reserved_bytes": peak.reserved,
        }

    def rest(self) -> None:
        """Give the memory of the activations back until the next block."""
        self._meter.release()
        self._cold = True

    def release(self) -> None:
        """Forget the inputs and give all memory but the weights back."""
        self._inputs = []
        self.rest()

    def _step(self) -> tuple[float, float | None]:
        image = self._inputs[self._calls % len(self._inputs)]
        self._calls += 1
        if self._device.type != "cuda":
            started = time.perf_counter_ns()
            self._model(image)
            return (time.perf_counter_ns() - started) / 1e9, None
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started = time.perf_counter_ns()
        before.record()
        self._model(image)
        after.record()
        torch.cuda.synchronize(self._device)
        wall = (time.perf_counter_ns() - started) / 1e9
        return wall, before.elapsed_time(after)

    def _freeze_settings(self) -> None:
        torch.set_num_threads(self._params["threads"])
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _make_inputs(self, resolution: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self._params["seed"])
        shape = (self._params["batch"], 3, resolution, resolution)
        return [
            torch.randn(shape, generator=generator).to(self._device, self._dtype, memory_format=self._layout)
            for _ in range(_INPUTS[self._device.type])
        ]

    def _count_macs(self, resolution: int) -> int | None:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        from ...kernels import register_flop_formulas

        register_flop_formulas()
        shape = (self._params["batch"], 3, resolution, resolution)
        try:
            with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
                image = torch.empty(shape, device=self._device, dtype=self._dtype)
                with FlopCounterMode(display=False) as counter:
                    self._model(image)
        except UsageError:
            raise
        except Exception:
            # A model that looks at values has no shape-only form; its rate is unknown, its time is not.
            return None
        return int(counter.get_total_flops()) // 2

    def _matmul_rate(self) -> float:
        """The best rate of a plain matrix product so far, in operations a second: the machine's when undisturbed."""
        best = self._matmul_flops_per_s
        small, large = _MATMUL_SIDES[self._device.type]
        for side in (small, large):
            left, right = (torch.full((side, side), 0.5, device=self._device, dtype=self._dtype) for _ in range(2))
            seconds = 0.0
            for _ in range(_MATMUL_REPEATS):
                self._synchronise()
                started = time.perf_counter()
                torch.mm(left, right)
                self._synchronise()
                seconds = time.perf_counter() - started
                best = max(best, 2 * side**3 / seconds)
            # Half precision has no fast product on some CPUs: a full-size one would take minutes.
            if seconds * (large / small) ** 3 > _SLOW_MATMUL_S:
                break
        del left, right
        self._meter.release()
        self._matmul_flops_per_s = best
        return best

    def _kernel_backends(self) -> dict[str, str]:
        from ...kernels import resolve_backend

        if self._params.get("subject"):
            return {}
        operators = backbone_spec(self._params["backbone"]).operators
        asked = self._params.get("kernels", "auto")
        return {name: resolve_backend(name, self._device, self._dtype, asked) for name in operators}

    @contextmanager
    def _limited(self) -> Iterator[None]:
        limit_mib = self._params.get("memory_limit_mib")
        if limit_mib is None or self._device.type == "cuda":
            yield
            return
        import resource

        used = psutil.Process().memory_info().vms
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + limit_mib * 2**20, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    def _limit_cuda(self) -> None:
        limit_mib = self._params.get("memory_limit_mib")
        if limit_mib is not None and self._device.type == "cuda":
            allowed = torch.cuda.memory_allocated(self._device) + limit_mib * 2**20
            total = torch.cuda.get_device_properties(self._device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), self._device)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _build(params: dict[str, Any]) -> nn.Module:
    target = params.get("subject")
    if target:
        module_name, _, attribute = target.partition(":")
        try:
            builder = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"subject '{target}' cannot be imported by a new process: {error}") from error
        model: nn.Module = builder(params["backbone"])
        return model
    overrides = {"attention": params["attention"]} if params["attention"] else {}
    return create_backbone(params["backbone"], kernels=params.get("kernels", "auto"), **overrides)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from _tensors(item)
