"""Bi-WKV on the CPU: numba, float32, O(T), vectorised over channels and parallel over chunks of tokens.

Both directions are log-sum-exp prefix sums over keys shifted by the position inside a chunk, `key_p + p * decay`,
so that no exponent is decremented step by step (which drifts in float32). Three passes: summaries of all chunks
(parallel), a scan over the summaries (float64 sums), the tokens of all chunks (parallel).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..threads import parallel_for
from . import cpu_backward, cpu_forward
from .cpu_scan import CHUNK, Array, carry, summaries


def _rows(tensor: Tensor) -> Array:
    """`[B, T, C]` float32, contiguous, as `[B * T, C]` in numpy."""
    array: Array = tensor.detach().reshape(-1, tensor.shape[-1]).numpy()
    return array


def forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, *, gate: Tensor | None = None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output; where `save`, the output before the gate (if gated) and the log-denominators. Contiguous float32.

    What is not there is empty.
    """
    batch, tokens, channels = v.shape
    chunks = -(-tokens // CHUNK)
    out = torch.empty_like(v)
    y = torch.empty_like(v) if save and gate is not None else v.new_empty(0)
    logsum = torch.empty_like(v) if save else v.new_empty(0)
    states = np.empty((2, batch * chunks, 3, channels), np.float32)
    lam, own, keys, values = decay.detach().numpy(), bonus.detach().numpy(), _rows(k), _rows(v)
    gates = np.empty((0, channels), np.float32) if gate is None else _rows(gate)
    # What is not saved goes to a scratch row.
    logs = _rows(logsum) if save else np.empty((1, channels), np.float32)
    kept = _rows(y) if y.numel() else np.empty((1, channels), np.float32)
    parallel_for(summaries, batch * chunks, keys, values, values, lam, tokens, chunks, states)
    parallel_for(carry, 2 * batch, lam, tokens, chunks, states)
    parallel_for(
        cpu_forward.forward_tokens,
        batch * chunks,
        keys,
        values,
        lam,
        own,
        tokens,
        chunks,
        states,
        _rows(out),
        logs,
        gates,
        kept,
    )
    return out, y, logsum


def gate_gradients(gate: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the output before the gate, `y`, and of the gate; contiguous float32 throughout."""
    before_gate, ggate = torch.empty_like(g), torch.empty_like(g)
    rows = _rows(g)
    parallel_for(
        cpu_backward.gate_gradients,
        rows.shape[0],
        _rows(gate),
        _rows(y),
        rows,
        _rows(before_gate),
        _rows(ggate),
        grain=CHUNK,
    )
    return before_gate, ggate


def backward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, y: Tensor, logsum: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay, bonus, k and v from the output's gradient `g`; contiguous float32 throughout."""
    batch, tokens, channels = v.shape
    chunks = -(-tokens // CHUNK)
    gk, gv = torch.empty_like(v), torch.empty_like(v)
    states = np.empty((2, batch * chunks, 5, channels), np.float32)
    partials = torch.empty(batch * chunks, 2, channels)
    lam, own = decay.detach().numpy(), bonus.detach().numpy()
    outputs, logs, grads = _rows(y), _rows(logsum), _rows(g)
    parallel_for(summaries, batch * chunks, logs, grads, outputs, lam, tokens, chunks, states)
    parallel_for(carry, 2 * batch, lam, tokens, chunks, states)
    parallel_for(
        cpu_backward.backward_tokens,
        batch * chunks,
        _rows(k),
        _rows(v),
        outputs,
        logs,
        grads,
        lam,
        own,
        tokens,
        chunks,
        states,
        _rows(gk),
        _rows(gv),
        partials.numpy(),
    )
    gdecay, gbonus = (part.sum(0, dtype=torch.float64).float() for part in partials.unbind(1))
    return gdecay, gbonus, gk, gv
