"""Accelerate's handle of devices and processes, and the bar that shows how a training goes on."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# While the main process draws demo data or writes, the others wait in their next exchange.
PATIENCE = timedelta(hours=1)


def open_accelerator(precision: str, device: str) -> Accelerator:
    """Accelerate's handle for a device and a precision, `bf16` or `fp32`.

    In a process that `torchrun` or `accelerate launch` started, this joins the others (gloo on `cpu`, NCCL on CUDA);
    `cuda` is then the device of this process's number. FSDP is on where `accelerate launch` was told so.
    """
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=device == "cpu",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            # A stage may train parameters that not every loss reaches.
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )


def progress_bar(accelerator: Accelerator, *, quiet: bool = False) -> Progress:
    """A bar with loss, speed, share of time spent waiting for data, and time left, in the main process only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:.1f} images/s"),
        TextColumn("data wait {task.fields[wait]:.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # Standard output belongs to the results.
    return Progress(*columns, console=Console(stderr=True), disable=quiet or not accelerator.is_main_process)
