"""Scores of one subject on every set of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...heads.sam import System
from ..data.protocols import get_protocol
from .coco import CocoScores, evaluate_coco
from .evaluate import Scores, evaluate
from .network import BoxFiller, Network
from .options import SamHqOptions
from .rows import parameter_counts, score_metrics
from .sets import Sets

PROBE_IMAGES = 6
COCO_PROTOCOL = "rwkvsam"

Say = Callable[[str], None]


@dataclass(frozen=True)
class SetScores:
    """What came out on every set.

    Attributes:
        masks: Scores of each mask set by name.
        coco: Scores on COCO, where it is evaluated.
        metrics: Numbers for a row.
    """

    masks: dict[str, Scores]
    coco: CocoScores | None
    metrics: dict[str, float]

    def facts(self, sets: Sets) -> dict[str, Any]:
        """What decides nothing but must be known: unusable images, empty masks, where the boxes came from."""
        bad = {name: found.bad for name, found in self.masks.items()}
        empty = {name: found.empty for name, found in self.masks.items()}
        facts: dict[str, Any] = {}
        if sets.coco is not None and self.coco is not None:
            dataset, prompts = sets.coco
            bad[dataset.name], empty[dataset.name] = self.coco.bad, self.coco.empty
            facts["boxes"] = {"source": Path(prompts.source).name, **prompts.counts.to_dict()}
            facts["coco_results"] = self.coco.results.name
            if problems := dataset.problems():
                facts["coco_problems"] = problems
        return {
            **facts,
            "bad_images": {name: lines for name, lines in bad.items() if lines},
            "empty_masks": {name: items for name, items in empty.items() if items},
            "unprompted_masks": {name: found.unprompted for name, found in self.masks.items() if found.unprompted},
        }


def score_sets(system: System | None, sets: Sets, options: SamHqOptions, *, results: Path, say: Say) -> SetScores:
    """Evaluate on every set.

    Args:
        system: In evaluation mode; None for the baseline, which fills the box.
        sets: The data.
        options: Frame, protocol, limits.
        results: Where the results file of COCO goes.
        say: Told of every image.
    """
    network = make_network(system, options)
    masks: dict[str, Scores] = {}
    started = time.monotonic()
    for dataset in sets.evaluation:
        masks[dataset.name] = evaluate(
            network,
            dataset,
            protocol=get_protocol(options.protocol),
            frame=options.eval_frame,
            limit=options.limit,
            max_bad=options.max_bad,
            keep=0 if system is None else -(-options.gallery // len(sets.evaluation)),
            workers=options.workers,
            on_image=_counter(dataset.name, len(dataset), options.limit, say),
        )
    coco = None
    metrics = score_metrics(masks)
    if sets.coco is not None:
        truth, prompts = sets.coco
        # HQ-SAM evaluates COCO as SAM does: aspect kept, SAM's logits plus the HQ token's.
        coco_network = make_network(system, options, COCO_PROTOCOL)
        coco = evaluate_coco(
            coco_network,
            truth,
            prompts,
            frame=options.eval_frame,
            results=results,
            limit=options.limit,
            max_bad=options.max_bad,
            workers=options.workers,
            on_image=_counter(truth.name, len(truth), options.limit, say),
        )
        metrics |= {f"{truth.name}/{name}": value for name, value in coco.metrics.items()}
    in_network = network.seconds + (coco.seconds if coco is not None else 0.0)
    seconds = {"network_seconds": in_network, "eval_seconds": time.monotonic() - started}
    return SetScores(masks, coco, {**metrics, **seconds, **parameter_counts(system)})


def probe(system: System, sets: Sets, options: SamHqOptions) -> dict[str, float]:
    """Quick scores on the first images of each mask set, at the evaluation's frame; none without a mask set."""
    network = make_network(system, options)
    found = {
        dataset.name: evaluate(
            network,
            dataset,
            protocol=get_protocol(options.protocol),
            frame=options.eval_frame,
            limit=PROBE_IMAGES,
            max_bad=options.max_bad,
        )
        for dataset in sets.evaluation
    }
    metrics = score_metrics(found)
    return {f"probe_{name}": metrics[name] for name in ("miou", "mbiou") if name in metrics}


def make_network(system: System | None, options: SamHqOptions, protocol: str | None = None) -> Network | BoxFiller:
    """What answers prompts, by the options' protocol unless another is named: the system, or for None the baseline."""
    if system is None:
        return BoxFiller()
    way = get_protocol(protocol or options.protocol)
    return Network(system, way, device=options.device, batch=options.batch, choice=options.choice)


def _counter(name: str, total: int, limit: int | None, say: Say) -> Callable[[str], None]:
    seen = 0

    def on_image(_: str) -> None:
        nonlocal seen
        seen += 1
        say(f"{name} {seen}/{min(total, limit or total)}")

    return on_image
