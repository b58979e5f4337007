"""Local softmax attention: sliding windows along a sequence, and windows of a map."""

from __future__ import annotations

from torch import Tensor

from ...errors import UsageError
from ..attention_inputs import check_attention
from ..registry import Backend, register_operator, resolve_backend
from . import plain, reference

__all__ = ["sliding_window_attention", "window_attention"]

_BACKENDS = (Backend("sdpa"), Backend("reference"))
register_operator("sliding_window_attention", _BACKENDS)
register_operator("window_attention", _BACKENDS)


def sliding_window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    before: int,
    after: int = 0,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention in which token i sees the tokens i - before, ..., i + after.

    Costs O(N * (before + after)). BASED calls `before=128, after=0` a window of 256.

    Args:
        q: `[B, heads, N, E]`.
        k: `[B, heads, N, E]`.
        v: `[B, heads, N, F]`.
        before: Tokens seen in front of the own one.
        after: Tokens seen behind the own one; 0 is causal.
        scale: Of the scores, `1 / sqrt(E)` unless given.
        backend: `auto`, `sdpa` or `reference`.

    Returns:
        `[B, heads, N, F]` in the dtype of the inputs.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    check_attention(q, k, v)
    for name, count in (("before", before), ("after", after)):
        if count < 0:
            raise UsageError(f"{name}: expected 0 or more tokens, got {count}")
    scale = q.shape[3] ** -0.5 if scale is None else scale
    before, after = (min(count, q.shape[2] - 1) for count in (before, after))
    if resolve_backend("sliding_window_attention", q.device, q.dtype, backend) == "reference":
        return reference.attention(q, k, v, reference.sliding_mask(q.shape[2], before, after).to(q.device), scale)
    return plain.sliding(q, k, v, before, after, scale)


def window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    *,
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention within the windows that a map is cut into.

    The first window of a row or column is shorter by `window - shift` tokens where there is a shift, the last as short
    as the map leaves it: nothing wraps around, padding is never seen. With `shift` half a window these are Swin's
    shifted windows.

    Args:
        q: `[B, heads, N, E]`, tokens row by row.
        k: `[B, heads, N, E]`.
        v: `[B, heads, N, F]`.
        grid: (H, W) with H * W = N.
        window: Rows and columns of a window.
        shift: By how much the windows are moved up and left, less than a window.
        scale: Of the scores, `1 / sqrt(E)` unless given.
        backend: `auto`, `sdpa` or `reference`.

    Returns:
        `[B, heads, N, F]` in the dtype of the inputs.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    check_attention(q, k, v)
    if len(grid) != 2 or min(grid) < 1 or grid[0] * grid[1] != q.shape[2]:
        raise UsageError(f"grid: expected (H, W) with H * W = N = {q.shape[2]}, got {tuple(grid)}")
    if len(window) != 2 or min(window) < 1:
        raise UsageError(f"window: expected rows and columns, at least 1 each, got {tuple(window)}")
    if len(shift) != 2 or any(not 0 <= move < size for move, size in zip(shift, window, strict=True)):
        raise UsageError(f"shift: expected from 0 to less than window={tuple(window)}, got {tuple(shift)}")
    scale = q.shape[3] ** -0.5 if scale is None else scale
    if resolve_backend("window_attention", q.device, q.dtype, backend) == "reference":
        return reference.attention(q, k, v, reference.window_mask(grid, window, shift).to(q.device), scale)
    return plain.windowed(q, k, v, grid, window, shift, scale).unflatten(0, q.shape[:2])
