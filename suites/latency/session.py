"""One subject inside its worker: built and checked once, then prepared and timed at one resolution after another."""

from __future__ import annotations

import gc
import math
import time
from typing import Any

import torch
from torch import Tensor

from ...results.provenance import collect
from ..runner.environment import recorded_environment
from ..runner.memory import CudaMeter, HostMeter, MemoryMeter
from ..runner.sampling import WarmUp, time_block, warm_up
from . import gate
from .counting import count_macs
from .launch import COMPILE_MODES, Launch
from .machine import limit_cuda, limited, matmul_rate, synchronise
from .models import Inputs, build_model, make_inputs, operators_of, tensors_of, timed_parts

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_INPUTS = {"cpu": 1, "cuda": 4}
_WARM_CALLS, _WARM_S, _SHORT_WARMUP_S = 10, 0.5, 5.0


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
        self._inputs: list[Inputs] = []
        self._calls = 0
        self._cold = True
        self._loaded = False
        self._queued = False
        self._matmul_flops_per_s = 0.0
        self._freeze_settings()
        started = time.perf_counter()
        model = build_model(params).to(device=self._device, dtype=self._dtype)
        self._model = model.to(memory_format=self._layout)
        self._launch = Launch(self._model, params["compile"], self._device)
        synchronise(self._device)
        self._build_s = time.perf_counter() - started
        limit_cuda(self._device, params.get("memory_limit_mib"))
        gc.freeze()  # what the imports left behind need not be searched before every block

    def facts(self) -> dict[str, Any]:
        """What is known before it runs: cold times, weights, provenance with flags and kernel backends."""
        tensors = [x for part in timed_parts(self._model) for x in (*part.parameters(), *part.buffers())]
        return {
            "build_s": self._build_s,
            "weights_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            "gpu": self._gpu(),
            "provenance": {
                **collect(str(self._device)),
                "kernels": self._kernel_backends(),
                "flags": {
                    "inference_mode": True,
                    "autocast": False,
                    "channels_last": self._params["channels_last"],
                    "compile": COMPILE_MODES.get(self._params["compile"], self._params["compile"]),
                    "tf32": bool(self._params.get("tf32")),
                    "inputs": _INPUTS[self._device.type],
                    "cache": "warm",
                    "gc_in_blocks": False,
                    "environment": recorded_environment(),
                },
            },
        }

    def check(self, side: int) -> dict[str, Any]:
        """Hold the output against the reference's at a small size; see `gate.check_kernels`."""
        found = gate.check_kernels(self._model, self._params, self._device, self._dtype, side)
        self.rest()
        return found._asdict()

    def prepare(
        self, resolution: int, *, warmup_s: float, batch: int | None = None, queued: bool = False
    ) -> dict[str, Any]:
        """Make the inputs, call the model for the first time at this size, check its output and warm up.

        Args:
            resolution: Side of the images.
            warmup_s: Seconds that the warm-up may take.
            batch: Images in one pass; the cell's unless given.
            queued: Let calls follow each other without waiting for the device: for throughput.

        Raises:
            UsageError: The model cannot serve this size.
        """
        self.release()
        self._queued = queued
        batch = batch or self._params["batch"]
        matmul = self._matmul_flops_per_s = matmul_rate(self._device, self._dtype, self._matmul_flops_per_s)
        self._meter.release()
        self._make_inputs(resolution, batch)
        macs = count_macs(self._model, self._inputs[0], whole="prompts" in self._params)
        with self._limited(), torch.inference_mode():
            eager = self._eager_output() if self._launch.changed else None
            self._meter.start()
            with self._meter.counted():
                first_s, output = self._first_call()
            wrong = self._verdict(output, eager)
            del output, eager
            if not self._loaded:
                # The first call ever also loads libraries and kernels, which are no activations.
                self._loaded = True
                self._meter.release()
                self._meter.start()
                with self._meter.counted():
                    self._step()
            self._cold = False
            warm = self._warm_up(first_s, warmup_s)
        peak = self._meter.read()
        return {
            "wrong": wrong,
            "first_call_s": first_s,
            "iteration_s": warm.iteration_s if warm else first_s,
            "warmup_iterations": warm.iterations if warm else 1,
            "warmup_stable": warm.stable if warm else None,
            "graph_breaks": self._launch.graph_breaks(),
            "macs": macs,
            "matmul_flops_per_s": matmul,
            "held_bytes": max(0, peak.reserved - peak.before),
            "available_bytes": self._meter.available(),
        }

    def probe(self, resolution: int, batch: int, least_s: float) -> dict[str, Any]:
        """Images a second at one batch, roughly: as many passes as fill `least_s`, after one to warm up."""
        self.release()
        self._queued = True
        self._make_inputs(resolution, batch)
        with self._limited(), torch.inference_mode():
            self._first_call()
            once = self._pass(1)
            seconds = self._pass(max(1, math.ceil(least_s / once)))
        return {"images_per_s": batch / seconds, "pass_s": seconds}

    def block(self, iterations: int) -> dict[str, Any]:
        """Durations of `iterations` calls in ms, by the host's clock and on CUDA the device's, and memory so far.

        Prepared as queued, it gives one duration: that of all calls together over their number.
        """
        with self._limited(), torch.inference_mode():
            if self._cold:
                self._step()
                self._cold = False
            if self._queued:
                samples: list[tuple[float, float | None]] = [(self._pass(iterations), None)]
            else:
                samples = time_block(self._step, iterations)
        peak = self._meter.read()
        return {
            "wall_ms": [1000 * wall for wall, _ in samples],
            "device_ms": [device for _, device in samples if device is not None],
            "peak_bytes": peak.peak,
            "activation_bytes": max(0, peak.peak - peak.before),
            "reserved_bytes": peak.reserved,
        }

    def profile(self, resolution: int, *, path: str, calls: int) -> dict[str, Any]:
        """Write a trace of some calls to `path`; the operators that took longest."""
        from .tracing import trace

        self.release()
        self._make_inputs(resolution, self._params["batch"])
        with self._limited(), torch.inference_mode():
            self._first_call()
            self._step()
            return {"operators": trace(self._step, path, calls=calls, on_cuda=self._device.type == "cuda")}

    def rest(self) -> None:
        """Give the memory of the activations back until the next block."""
        self._meter.release()
        self._cold = True

    def release(self) -> None:
        """Forget the inputs and give all memory but the weights back."""
        self._inputs = []
        self._launch.release()
        self.rest()

    def _warm_up(self, first_s: float, limit_s: float) -> WarmUp | None:
        """Calls until two halves agree; few where many would not fit, none where not even one would."""
        if not self._launch.changed and first_s * _WARM_CALLS > limit_s:
            limit_s = min(limit_s, _SHORT_WARMUP_S)
            if first_s > limit_s:
                return None
        return warm_up(lambda: self._step()[0], limit_s=limit_s, least=_WARM_CALLS, least_s=_WARM_S)

    def _first_call(self) -> tuple[float, Any]:
        started = time.perf_counter()
        self._launch.prepare(self._inputs[0])
        output = self._launch(self._inputs[0])
        synchronise(self._device)
        return time.perf_counter() - started, output

    def _eager_output(self) -> list[Tensor]:
        output = [x.cpu() for x in tensors_of(self._launch.eager(self._inputs[0]))]
        self._meter.release()
        return output

    def _verdict(self, output: Any, eager: list[Tensor] | None) -> str:
        found = list(tensors_of(output))
        if not all(bool(tensor.isfinite().all()) for tensor in found):
            return gate.not_finite()
        if eager is None:
            return ""
        return gate.check_launch(found, eager, self._dtype, self._params["compile"]).wrong

    def _step(self) -> tuple[float, float | None]:
        inputs = self._inputs[self._calls % len(self._inputs)]
        self._calls += 1
        if self._device.type != "cuda":
            started = time.perf_counter_ns()
            self._launch(inputs)
            return (time.perf_counter_ns() - started) / 1e9, None
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started = time.perf_counter_ns()
        before.record()
        self._launch(inputs)
        after.record()
        torch.cuda.synchronize(self._device)
        wall = (time.perf_counter_ns() - started) / 1e9
        return wall, before.elapsed_time(after)

    def _pass(self, calls: int) -> float:
        """Seconds of one of `calls` passes that follow each other without waiting for the device."""
        synchronise(self._device)
        started = time.perf_counter()
        for call in range(calls):
            self._launch(self._inputs[call % len(self._inputs)])
        synchronise(self._device)
        return (time.perf_counter() - started) / calls

    def _freeze_settings(self) -> None:
        tf32 = bool(self._params.get("tf32"))
        torch.set_num_threads(self._params["threads"])
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _make_inputs(self, resolution: int, batch: int) -> None:
        generator = torch.Generator().manual_seed(self._params["seed"])
        prompts = self._params.get("prompts")
        with self._limited(), torch.inference_mode():
            for _ in range(_INPUTS[self._device.type]):
                images = torch.randn((batch, 3, resolution, resolution), generator=generator)
                images = images.to(self._device, self._dtype, memory_format=self._layout)
                self._inputs.append(make_inputs(self._model, images, prompts=prompts, generator=generator))

    def _kernel_backends(self) -> dict[str, str]:
        from ...kernels import resolve_backend

        if self._params.get("subject"):
            return {}
        asked = self._params.get("kernels", "auto")
        operators = operators_of(self._params)
        return {name: resolve_backend(name, self._device, self._dtype, asked) for name in operators}

    def _gpu(self) -> str | None:
        if self._device.type != "cuda":
            return None
        return str(getattr(torch.cuda.get_device_properties(self._device), "uuid", "")) or None

    def _limited(self) -> Any:
        return limited(self._device, self._params.get("memory_limit_mib"))
