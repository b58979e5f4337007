"""Q-shift: every quarter of the channels looks one token left, right, up or down."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from .op import q_shift_mix_op, q_shift_op

__all__ = ["q_shift", "q_shift_mix"]

ClassToken = Literal["first", "last"]

_BACKENDS = (
    Backend("cpu", devices=("cpu",), dtypes=(torch.float32, torch.bfloat16, torch.float16), module="numba"),
    triton_backend(),
    Backend("torch"),
    Backend("reference"),
)
register_operator("q_shift", _BACKENDS)
register_operator("q_shift_mix", _BACKENDS)


def _lead(x: Tensor, grid: tuple[int, int], shift: int, gamma: float, class_token: ClassToken | None) -> int:
    """Number of tokens before the grid, after checking all but the mix."""
    if x.ndim != 3 or not x.is_floating_point():
        raise UsageError(f"x: expected floating-point [B, N, C], got {x.dtype} {list(x.shape)}")
    if class_token not in (None, "first", "last"):
        raise UsageError(f"class_token: expected None, 'first' or 'last', got {class_token!r}")
    stay = 0 if class_token is None else 1
    if len(grid) != 2 or min(grid) < 1 or grid[0] * grid[1] + stay != x.shape[1]:
        expected = f"H * W{' + 1' * stay} = N = {x.shape[1]}"
        raise UsageError(f"grid: expected (H, W) with {expected}, got {tuple(grid)}")
    if shift < 0:
        raise UsageError(f"shift: expected 0 or more tokens, got {shift}")
    if not 0 <= gamma <= 0.25:
        raise UsageError(f"gamma: expected a share of channels from 0 to 0.25, got {gamma}")
    return int(class_token == "first")


def q_shift(
    x: Tensor,
    grid: tuple[int, int],
    *,
    shift: int = 1,
    gamma: float = 0.25,
    class_token: ClassToken | None = None,
    backend: str = "auto",
) -> Tensor:
    """Shifts four groups of channels by `shift` tokens each in its own direction, zero beyond the border.

    With the cuts `int(C * gamma * j)`, the first group takes its values from the token to the left (x - shift), the
    second from the right, the third from above (y - shift), the fourth from below; channels past `4 * gamma * C` stay.
    Vision-RWKV, section 3.2.

    Args:
        x: `[B, N, C]`, tokens row by row.
        grid: (H, W) with H * W = N, or N - 1 with a class token.
        shift: Distance in tokens; 0 leaves `x` as it is.
        gamma: Share of the channels in each group, at most 1/4.
        class_token: Where a token stands that belongs to no place and stays as it is: `first`, `last` or nowhere.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, N, C]`, contiguous, in the dtype of `x`.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    lead = _lead(x, grid, shift, gamma, class_token)
    chosen = resolve_backend("q_shift", x.device, x.dtype, backend)
    result: Tensor = q_shift_op(x, grid[0], grid[1], lead, shift, gamma, False, chosen)
    return result


def q_shift_mix(
    x: Tensor,
    mix: Tensor,
    grid: tuple[int, int],
    *,
    shift: int = 1,
    gamma: float = 0.25,
    class_token: ClassToken | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ...]:
    """Interpolates between each token and its shifted neighbour: `mix[m] * x + (1 - mix[m]) * q_shift(x)`.

    What the linear layers for k, v and r of an RWKV block read, in one pass: one read, M writes. Equation 2 of RWKV-SAM
    as its code has it (a vector per layer, not clamped; the paper omits the factor of `x`).

    Args:
        x: `[B, N, C]`, tokens row by row.
        mix: `[M, C]`, a row for each output.
        grid: As for `q_shift`.
        shift: As for `q_shift`.
        gamma: As for `q_shift`.
        class_token: As for `q_shift`; all its mixes are the token itself.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        M tensors `[B, N, C]`, each contiguous, in the dtype of `x`; differentiable once for `x` and `mix`.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    lead = _lead(x, grid, shift, gamma, class_token)
    if mix.ndim != 2 or mix.shape[0] == 0 or mix.shape[1] != x.shape[2] or not mix.is_floating_point():
        raise UsageError(
            f"mix: expected floating-point [M, C] with C = {x.shape[2]}, got {mix.dtype} {list(mix.shape)}"
        )
    if mix.device != x.device:
        raise UsageError(f"mix: expected a tensor on {x.device}, where x is, got one on {mix.device}")
    dtype = torch.float64 if mix.dtype == torch.float64 else x.dtype
    chosen = resolve_backend("q_shift_mix", x.device, dtype, backend)
    return tuple(q_shift_mix_op(x, mix, grid[0], grid[1], lead, shift, gamma, chosen))
