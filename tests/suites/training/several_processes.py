"""A small training and scoring for one process or several.

Arguments: folder, output, and `key=value` changes of the optimisation; `broken=PLACE` spoils one sample.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from linbench.suites.training.accelerators import open_accelerator
from linbench.suites.training.engine import train_stage
from linbench.suites.training.options import EngineOptions
from linbench.suites.training.passes import cut
from linbench.suites.training.processes import is_main, rank
from linbench.suites.training.recipes import Optimisation
from linbench.suites.training.shards import gathered, my_share
from rich.progress import Progress
from torch import nn


class Objects(nn.Module):
    """A mean over objects, of which images have one or more."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1))
        self.unused = nn.Linear(2, 2)

    def cut(self, batch, passes):
        return cut(batch, passes, objects=("wanted",))

    def loss_weight(self, batch):
        return len(batch["wanted"])

    def forward(self, batch):
        found = self.layers(batch["images"])[batch["image_index"]]
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


def main(folder, output, *changes):
    torch.manual_seed(1)
    module = Objects()
    stage = Optimisation(
        steps=20, max_minutes=None, images=12, lr=1e-2, lr_end=0.1, warmup_steps=3, weight_decay=0.1, clip_norm=1.0
    )
    changed = {key: json.loads(value) for key, value in (text.split("=") for text in changes)}
    broken = changed.pop("broken", None)
    stage = replace(stage, **changed)
    accelerator = open_accelerator("fp32", "cpu")
    curve = train_stage(
        "test",
        module,
        partial(batches, broken=broken),
        stage,
        accelerator=accelerator,
        folder=folder,
        seed=5,
        progress=Progress(disable=True),
        points=20,
        engine=EngineOptions(keep=2),
    )
    scores = score()
    told = {"points": curve.points, "items": list(scores), "scores": list(scores.values()), "steps": curve.steps}
    output.with_suffix(f".{rank()}").write_text(json.dumps(told))
    if is_main():
        torch.save(module.state_dict(), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
