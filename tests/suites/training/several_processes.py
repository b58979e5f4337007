"""A small training and scoring for one process or several.

Arguments: folder, and `key=value` changes of the optimisation; `broken=PLACE` spoils one sample. The training in the
folder `plain` is done again in `sharded`, the parameters spread over the processes.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from linbench.results.schema import Cell
from linbench.suites.failures import failed_row
from linbench.suites.training.accelerators import open_accelerator
from linbench.suites.training.engine import train_stage
from linbench.suites.training.options import EngineOptions
from linbench.suites.training.passes import cut
from linbench.suites.training.processes import rank
from linbench.suites.training.recipes import Optimisation
from linbench.suites.training.shards import gathered, join, my_share
from linbench.suites.training.shared_store import store_class
from rich.progress import Progress
from torch import nn

# FSDP asks the device's streams for events; in torch 2.6 those of the CPU have none.
CPU_SHARDS = hasattr(torch.cpu.Stream, "record_event")


class Objects(nn.Module):
    """A mean over objects, of which images have one or more."""

    def __init__(self, normed=False):
        super().__init__()
        self.norm = nn.BatchNorm2d(8) if normed else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1))
        self.unused = nn.Linear(2, 2)

    def cut(self, batch, passes):
        return cut(batch, passes, objects=("wanted",))

    def loss_weight(self, batch):
        return len(batch["wanted"])

    def forward(self, batch):
        found = self.layers(self.norm(batch["images"][..., None, None]).flatten(1))[batch["image_index"]]
        return {"mse": (found - batch["wanted"]).square().mean(), "size": 0.01 * found.abs().mean()}


def sample(place):
    generator = torch.Generator().manual_seed(place)
    image = torch.randn(8, generator=generator)
    objects = 1 + place % 3
    return image, image.sum() + torch.randn(objects, 1, generator=generator) * 0.1


def batches(step, rank, world, broken=None):
    share = 12 // world
    while True:
        first = (step * world + rank) * share
        images, wanted = zip(*map(sample, range(first, first + share)), strict=True)
        if broken is not None and first <= broken < first + share:
            images[broken - first].fill_(float("nan"))
        counts = torch.tensor([len(one) for one in wanted])
        yield {
            "images": torch.stack(images),
            "wanted": torch.cat(wanted),
            "image_index": torch.repeat_interleave(torch.arange(share), counts),
            "samples": torch.arange(first, first + share),
        }
        step += 1


@torch.no_grad()
def score():
    """Scores of a fixed network, in the batches that one process makes; the last of them is not full."""
    torch.manual_seed(3)
    fixed = Objects().layers
    found = {}
    for _, group in groupby(my_share(31, batch=4), lambda item: item // 4):
        items = list(group)
        outputs = fixed(torch.stack([sample(item)[0] for item in items])).tolist()
        found |= dict(zip(items, outputs, strict=True))
    return gathered(found, 31)


def train(folder, accelerator, **changes):
    broken = changes.pop("broken", None)
    torch.manual_seed(1)
    module = Objects(changes.pop("normed", False))
    stage = Optimisation(
        steps=20, max_minutes=None, images=12, lr=1e-2, lr_end=0.1, warmup_steps=3, weight_decay=0.1, clip_norm=1.0
    )
    curve = train_stage(
        "test",
        module,
        partial(batches, broken=broken),
        replace(stage, **changes),
        accelerator=accelerator,
        folder=folder,
        seed=5,
        progress=Progress(disable=True),
        points=20,
        engine=EngineOptions(keep=2),
    )
    return {"points": curve.points, "weights": {key: value.tolist() for key, value in module.state_dict().items()}}


def main(folder, **changes):
    join("cpu")
    accelerator = open_accelerator("fp32", "cpu")
    try:
        run(folder, accelerator, **changes)
    except Exception as error:
        store_class()(folder / "results").write(failed_row(Cell("sam-hq", "test"), error, "cpu"))
        raise


def run(folder, accelerator, **changes):
    told = {"plain": train(folder / "plain", accelerator, **changes), "scores": score()}
    told["normed"] = train(folder / "normed", accelerator, normed=True)
    # What `accelerate launch --use_fsdp --fsdp_version 2` sets up, which it does where there are accelerators only.
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2, cpu_ram_efficient_loading=False)
    if CPU_SHARDS:
        told["sharded"] = train(folder / "sharded", accelerator, images_per_pass=2)
    (folder / f"{rank()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), **{key: json.loads(value) for key, value in (text.split("=") for text in sys.argv[2:])})
