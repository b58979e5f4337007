"""Taylor linear attention of BASED: softmax's exponential cut after its square."""

from __future__ import annotations

from torch import Tensor

from ...errors import UsageError
from ..attention_inputs import check_attention
from ..registry import Backend, register_operator, resolve_backend
from . import plain, reference
from .plain import taylor_features

__all__ = ["taylor_features", "taylor_linear_attention"]

register_operator("taylor_linear_attention", (Backend("torch"), Backend("reference")))


def taylor_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, eps: float = 1e-12, backend: str = "auto"
) -> Tensor:
    r"""Attention with the weights `1 + s + s**2 / 2`, `s = q.k / sqrt(E)`, in time linear in the number of tokens.

    .. math:: y_i = \frac{\sum_j (1 + s_{ij} + s_{ij}^2 / 2) v_j}{\sum_j (1 + s_{ij} + s_{ij}^2 / 2) + eps}

    Over all tokens (the form for images), or over those up to i with `causal` (BASED's own, for text). The weights are
    never below 1/2, so the denominator cannot vanish; they are large for very negative `s` too, so keep q and k small.
    Sums are float32 (float64 for float64 inputs) whatever the storage and under autocast.

    Args:
        q: `[B, heads, N, E]`; E = 16 in BASED, which makes 153 features.
        k: `[B, heads, N, E]`.
        v: `[B, heads, N, F]`.
        causal: Whether a token sees only itself and earlier ones.
        eps: Added to the denominator.
        backend: `auto`, `torch` or `reference`.

    Returns:
        `[B, heads, N, F]` in the dtype of `v`.

    Raises:
        UsageError: An argument does not fit; it is named.
        BackendError: The backend asked for cannot serve the call.
    """
    check_attention(q, k, v)
    if eps < 0:
        raise UsageError(f"eps: expected 0 or more, got {eps}")
    if resolve_backend("taylor_linear_attention", q.device, q.dtype, backend) == "reference":
        return reference.attention(q, k, v, causal, eps)
    return plain.attention(q, k, v, causal, eps)
