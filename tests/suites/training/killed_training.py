"""A small training that a test kills; arguments: checkpoint folder, output file, seconds a step takes."""

import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from linbench.suites.training import engine
from linbench.suites.training.recipes import Optimisation
from rich.progress import Progress
from torch import nn


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 1))

    def forward(self, batch):
        return {"mse": (self.layers(batch["images"]) - batch["y"]).square().mean()}


def main(folder, output, pause):
    engine.CHECKPOINT_SECONDS = 0.0
    torch.manual_seed(1)
    module = Regression()

    def batches(step, rank, world):
        while True:
            time.sleep(pause)
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(step))
            yield {"images": x, "y": x.sum(dim=1, keepdim=True)}
            step += 1

    stage = Optimisation(
        steps=40,
        max_minutes=None,
        images=4,
        lr=1e-2,
        lr_end=0.1,
        warmup_steps=3,
        weight_decay=0.1,
        clip_norm=1.0,
        schedule="poly",
        ema=0.9,
        images_per_pass=2,
    )
    curve = engine.train_stage(
        "test",
        module,
        batches,
        stage,
        accelerator=Accelerator(cpu=True),
        folder=folder,
        seed=5,
        progress=Progress(disable=True),
        probe=lambda: {"probe": float(module.layers[0].weight.sum())},
        points=10,
    )
    torch.save(
        {
            "state": module.state_dict(),
            "steps": curve.steps,
            "points": [[p["step"], p["mse"], p.get("probe")] for p in curve.points],
        },
        output,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
