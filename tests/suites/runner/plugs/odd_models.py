"""Models that a worker builds in place of registered backbones; the name says how each goes wrong."""

import contextlib
import ctypes
import os
import signal
import time

import torch
from torch import nn


class Odd(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.ones(256, 1024))

    def forward(self, images):
        side = images.shape[-1]
        if isinstance(images, torch.Tensor) and type(images) is not torch.Tensor:
            return images.mean()  # shapes only, while operations are counted
        if self.kind == "hungry" and side > 32:
            return torch.empty(2**31).fill_(1.0)
        if self.kind == "killed" and side > 32:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "segfault" and side > 32:
            ctypes.string_at(0)
        if self.kind == "hanging" and side > 32:
            time.sleep(600)
        if self.kind == "junk" and side > 32:
            for fd in range(3, 64):  # whatever pipe the answers go through
                with contextlib.suppress(OSError):
                    os.write(fd, b"{not json\n")
        if self.kind == "sleeping":
            time.sleep(0.05)
        if self.kind == "noisy":
            os.write(1, b"junk on stdout " * 1000)
        if self.kind == "nan" and side > 32:
            return images * float("nan")
        return images.mean(dim=(2, 3))


def build(name):
    if name == "nonsense":
        raise ValueError("no such kind")
    return Odd(name)
