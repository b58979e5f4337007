"""One call of an operator, made ready so that nothing but the call itself is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import BackendError
from ...kernels.cases import OperatorCase, Shape

Named = dict[str, Tensor]


class Call:
    """The outputs of an operator, or the gradients of its inputs given its outputs, on fixed random inputs.

    Two calls with the same case, shape and seed see the same numbers, rounded to their `dtype`.

    Args:
        case: The operator and how it is called.
        shape: Size of each dimension.
        backend: Implementation.
        direction: `forward` or `backward`.
        dtype: Storage type.
        device: Where it runs.
        seed: Seed of the inputs and of the outputs' gradients.
        exact: Compute in float64 on the numbers that `dtype` rounds the inputs to.

    Raises:
        BackendError: The implementation has no gradients.
    """

    def __init__(
        self,
        case: OperatorCase,
        shape: Shape,
        *,
        backend: str,
        direction: str,
        dtype: torch.dtype,
        device: torch.device,
        seed: int,
        exact: bool = False,
    ) -> None:
        self._case, self._backend = case, backend
        self._generator = torch.Generator().manual_seed(seed)

        def placed(name: str, tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor.to(device)
            rounded = tensor if name in case.float32 else tensor.to(dtype)
            return rounded.to(device, torch.float64 if exact else rounded.dtype)

        drawn = case.inputs(shape, self._generator)
        self._inputs = {name: placed(name, tensor) for name, tensor in drawn.items()}
        self._run: Callable[[], Any] = self._forward
        self._names: list[str] = []
        if direction == "backward":
            self._prepare_backward(placed)

    def __call__(self) -> Any:
        """What is timed."""
        return self._run()

    def results(self) -> Named:
        """The outputs or gradients by name, from one call."""
        found = _tuple(self())
        names = self._names or [f"output {index}" if len(found) > 1 else "output" for index in range(len(found))]
        return dict(zip(names, found, strict=True))

    def _forward(self) -> Any:
        with torch.no_grad():
            return self._case.call(self._inputs, self._backend)

    def _prepare_backward(self, placed: Callable[[str, Tensor], Tensor]) -> None:
        names = [name for name, tensor in self._inputs.items() if tensor.is_floating_point()]
        leaves = [self._inputs[name].requires_grad_() for name in names]
        outputs = [y for y in _tuple(self._case.call(self._inputs, self._backend)) if y.requires_grad]
        if not outputs:
            raise BackendError(f"{self._case.operator}: backend {self._backend!r} has no gradients")
        outer = [placed("", torch.randn(y.shape, generator=self._generator)).to(y.dtype) for y in outputs]
        self._names = [f"gradient of {name}" for name in names]
        self._run = lambda: torch.autograd.grad(outputs, leaves, outer, retain_graph=True, materialize_grads=True)


def _tuple(results: Any) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else tuple(results)
