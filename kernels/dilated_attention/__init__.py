"""Dilated attention: softmax attention among every r-th token of a segment, as in LongNet and SAM-Lightening."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...errors import UsageError
from ..attention_inputs import check_attention
from ..registry import Backend, register_operator, resolve_backend
from . import plain, reference

__all__ = ["dilated_attention"]

register_operator("dilated_attention", (Backend("sdpa"), Backend("reference")))


def dilated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    branches: Sequence[tuple[int, int]],
    offsets: Sequence[int] | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Cuts the tokens into segments, takes every r-th of each, and lets those attend to one another.

    A branch (w, r) has segments of w tokens; of each, head h takes the tokens `offsets[h] % r`, `+ r`, `+ 2r`, ..., so
    that with the usual offsets the heads together take all. What a head does not take is zero in its output. Several
    branches are mixed, for each query, in proportion to their softmax denominators (LongNet, equation 10): as if one
    softmax went over the keys of all. The last segment may be shorter. A branch (N, 1) is full attention; the cost of a
    branch is O(N * w / r**2).

    SAM-Lightening publishes neither its w and r nor what becomes of the tokens between; this is LongNet's answer.

    Args:
        q: `[B, heads, N, E]`.
        k: `[B, heads, N, E]`.
        v: `[B, heads, N, F]`.
        branches: Segment length and dilation of each branch.
        offsets: For each head, where it begins in a segment; 0, 1, 2, ... unless given.
        scale: Of the scores, `1 / sqrt(E)` unless given.
        backend: `auto`, `sdpa` or `reference`.

    Returns:
        `[B, heads, N, F]` in the dtype of the inputs.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    check_attention(q, k, v)
    if not branches or any(len(branch) != 2 or not 1 <= branch[1] <= branch[0] for branch in branches):
        raise UsageError(f"branches: expected pairs (w, r) with 1 <= r <= w, got {list(branches)}")
    heads = q.shape[1]
    starts = range(heads) if offsets is None else offsets
    if len(starts) != heads or min(starts) < 0:
        raise UsageError(f"offsets: expected {heads} numbers of tokens, one for each head, got {list(starts)}")
    scale = q.shape[3] ** -0.5 if scale is None else scale
    if resolve_backend("dilated_attention", q.device, q.dtype, backend) == "reference":
        return reference.attention(q, k, v, branches, starts, scale)
    return plain.attention(q, k, v, branches, starts, scale)
