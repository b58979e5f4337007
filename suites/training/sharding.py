"""A training whose parameters and optimiser are spread over the processes (FSDP, as `accelerate launch` sets it up).

Checkpoints hold whole tensors by the module's own names, so that any number of processes goes on from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from ...errors import UsageError

WHOLE = StateDictOptions(full_state_dict=True)
WHOLE_IN_MAIN = StateDictOptions(full_state_dict=True, cpu_offload=True)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether the processes share the parameters.

    Raises:
        UsageError: They do so by the first version of FSDP, whose parameters have no names.
    """
    if accelerator.state.distributed_type != DistributedType.FSDP:
        return False
    if getattr(accelerator.state.fsdp_plugin, "fsdp_version", 1) != 2:
        raise UsageError("FSDP's first version is not served; use `accelerate launch --use_fsdp --fsdp_version 2`")
    return True


def parameter_names(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of an optimiser's parameters, in its order, which its checkpoints number."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def whole_states(
    module: nn.Module, optimizer: torch.optim.Optimizer, names: list[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Whole state of a sharded module and of its optimiser, as `state_dict` has them; every process must call this.

    Returns:
        In the main process both; in others nothing of use.
    """
    state: dict[str, Any] = get_model_state_dict(module, options=WHOLE_IN_MAIN)
    found: Mapping[str, Any] = get_optimizer_state_dict(module, optimizer, options=WHOLE_IN_MAIN)
    own = found.get("state", {})
    return state, {"state": {index: own[name] for index, name in enumerate(names) if name in own}}


def load_optimizer(
    module: nn.Module, optimizer: torch.optim.Optimizer, names: list[str], state: Mapping[int, Any]
) -> None:
    """Spread a whole optimiser state, the same in every process, over the processes; every one must call this."""
    groups, start = [], 0
    for group in optimizer.param_groups:
        stop = start + len(group["params"])
        groups.append({**group, "params": names[start:stop]})
        start = stop
    # A parameter that no loss has reached yet has no state; torch 2.6 wants to find its name all the same.
    states = {name: state.get(index, {}) for index, name in enumerate(names)}
    whole: dict[str, Any] = {"state": states, "param_groups": groups}
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(module, optimizer, whole, options=options)


def gather_into(whole: nn.Module, sharded: nn.Module) -> None:
    """Give `whole` the weights of `sharded`; every process must call this, and gets them."""
    whole.load_state_dict(get_model_state_dict(sharded, options=WHOLE))
