"""One process of a run of the suite `ade20k`, started by the tests: data, folder, backbone."""

import json
import sys
from pathlib import Path

import torch
from linbench.results.store import Store
from linbench.suites.ade20k import SUITE, Ade20kOptions
from linbench.suites.ade20k.recipes import RECIPES
from linbench.suites.training.processes import rank
from linbench.suites.training.recipes import load_recipe


def main(data, folder):
    torch.set_num_threads(1)
    changes = ["crop=48", "scale=[128,64]", "channels=4", "precision=fp32", "dropout=0.0", "layer_scale=1.0"]
    changes += ["train.steps=6", "train.images=4", "train.max_minutes=none", "train.warmup_steps=0", "train.lr=1e-3"]
    options = Ade20kOptions(
        ("efficientvmamba-t",),
        recipe=load_recipe("demo", changes, RECIPES),
        data=Path(data),
        cache=Path(folder) / "cache",
        gallery=2,
        workers=1,
    )
    rows = list(SUITE.run(options, store=Store(Path(folder) / "results")))
    text = json.dumps([{"status": row.status, "metrics": row.metrics, "samples": row.samples} for row in rows])
    (Path(folder) / f"rows-{rank()}.json").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
