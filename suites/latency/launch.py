"""How a model is called: as it is, through `torch.compile`, or by replaying a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...errors import BackendError, UsageError
from .models import Inputs

# CUDA graphs are a way of their own, never mixed into a compiled model's time.
COMPILE_MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
_WARM_CALLS = 3


class Launch:
    """A way to call a model; make it ready for each set of shapes, then call it.

    Args:
        model: On its device, in evaluation mode.
        mode: `none`, `default`, `max-autotune` or `graphs`.
        device: Where the model is.

    Raises:
        UsageError: CUDA graphs on another device.
    """

    def __init__(self, model: nn.Module, mode: str, device: torch.device) -> None:
        if mode == "graphs" and device.type != "cuda":
            raise UsageError("compile 'graphs' needs a CUDA device: the CPU has no CUDA graphs to capture and replay")
        self._model, self._mode, self._device = model, mode, device
        self._call: Callable[[Inputs], Any] = self.eager

    @property
    def changed(self) -> bool:
        """Whether it is another way than simply to call the model."""
        return self._mode != "none"

    def eager(self, inputs: Inputs) -> Any:
        """Simply call the model."""
        return self._model(*inputs)

    def __call__(self, inputs: Inputs) -> Any:
        return self._call(inputs)

    def prepare(self, inputs: Inputs) -> None:
        """Forget what was made for other shapes, and compile or capture for these at the next call."""
        if self._mode in COMPILE_MODES:
            from torch._dynamo.utils import counters

            torch._dynamo.reset()
            counters.clear()
            compiled = torch.compile(self._model, mode=COMPILE_MODES[self._mode], dynamic=False)
            self._call = lambda given: compiled(*given)
        elif self._mode == "graphs":
            self._call = self._captured(inputs)

    def release(self) -> None:
        """Forget a captured graph and its memory."""
        self._call = self.eager

    def graph_breaks(self) -> int | None:
        """Places where `torch.compile` gave up since the last `prepare`; None without it."""
        if self._mode not in COMPILE_MODES:
            return None
        from torch._dynamo.utils import counters

        return sum(counters["graph_break"].values())

    def _captured(self, inputs: Inputs) -> Callable[[Inputs], Any]:
        buffers = tuple(x.clone(memory_format=torch.preserve_format) for x in inputs)
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_CALLS):
                self._model(*buffers)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                output = self._model(*buffers)
        except RuntimeError as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise BackendError(f"cannot be captured in a CUDA graph: {' '.join(str(error).split())[:200]}") from error

        def replay(given: Inputs) -> Any:
            for buffer, x in zip(buffers, given, strict=True):
                buffer.copy_(x)
            graph.replay()
            return output

        return replay
