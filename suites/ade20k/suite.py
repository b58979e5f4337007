"""Plan and run of the suite `ade20k`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...backbones import backbone_spec
from ...backbones.weight_files import resolve_weights
from ...backbones.weights import weights_sha256
from ...errors import LinBenchError, UsageError
from ...heads.upernet import Segmenter
from ...kernels import resolve_backend
from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ...results.store import Store, folder_name
from ..base import Event, Progress, finished_rows
from ..data.class_names import check_class_names
from ..failures import check_device, failed_row
from ..metrics.semseg import constant_confusion
from ..training.accelerators import open_accelerator
from ..training.checkpoint import Checkpointer, weights_file
from ..training.precision import resolve_precision
from ..training.processes import is_main, world_size
from ..training.shards import wait_for_all
from .evaluate import Evaluation, evaluate
from .inference import Predictor
from .network import kernel_choice, load_segmenter, new_segmenter
from .options import COMMONEST, RANDOM, Ade20kOptions
from .rows import class_samples, draw_gallery, image_samples, parameter_counts, score_metrics
from .sets import CheckedSets, check_sets, choose_sets
from .train import STAGE, Trained, train_segmenter

PROBE_IMAGES = 12


class Ade20k:
    """Semantic segmentation under UperNet."""

    name = "ade20k"
    summary = "semantic segmentation with UperNet: mIoU of backbones under one decoder and recipe"

    def plan(self, options: Ade20kOptions) -> list[Cell]:
        """The rows that a run makes, in order. Draws the demo data where they are needed, for their fingerprint."""
        return list(_Run(options).cells().values())

    def run(
        self, options: Ade20kOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Train and evaluate; each row is stored as soon as it is made, and yielded.

        A backbone that fails gives a row with status `failed` and the run goes on with the next one. Under `torchrun`
        or `accelerate launch` every process runs this; the main one stores the rows.

        Args:
            options: What to do.
            store: Where rows go.
            progress: Told what happens now.
            resume: Take ok rows that are there already instead of making them again.
        """
        yield from _Run(options, progress).rows(store, resume)

    def train(
        self, options: Ade20kOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Path]:
        """Train without an evaluation and yield each backbone's weights; see `suites.base.Trainer`.

        Raises:
            UsageError: The options give weights, so that nothing is to be trained.
        """
        yield from _Run(options, progress).weights(resume)


SUITE = Ade20k()


class _Run:
    """One call of the suite: its data, opened once, and its options."""

    def __init__(self, options: Ade20kOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress = progress
        self.made = 0
        check_device(options.device)
        if options.weights is None:
            options.recipe.train.share(world_size())
        for name in options.backbones:
            kernel_choice(name, options.kernels)
            for operator in backbone_spec(name).operators:
                resolve_backend(operator, options.device, torch.float32, options.kernels)
        if world_size() > 1:
            # Joins the other processes, which share the evaluation too.
            open_accelerator(resolve_precision(options.recipe.precision, torch.device(options.device)), options.device)
        self.digests = self._digests()
        self.sets = choose_sets(options, self.say)
        self._checked: CheckedSets | None = None

    def say(self, message: str) -> None:
        if self.progress is not None:
            self.progress(Event(self.made, 1 + len(self.options.backbones), message))

    def checked(self) -> CheckedSets:
        """The usable items, looked at once, when the first row needs them."""
        if self._checked is None:
            self._checked = check_sets(self.sets, self.options, self.say)
        return self._checked

    def cells(self) -> dict[str, Cell]:
        """Cells by subject, the baseline first."""
        options, recipe, splits = self.options, self.options.recipe, self.sets.splits
        classes = canonical_json([splits.table.names, splits.table.ids, sorted(splits.table.ignored)])
        data: dict[str, Any] = {
            "data": self.sets.kind,
            "datasets": [splits.name],
            "dataset_fingerprints": {splits.name: splits.evaluation.fingerprint()},
            "classes": len(splits.table),
            "classes_sha": hashlib.sha256(classes.encode()).hexdigest()[:12],
            "limit": options.limit,
        }
        shared = {**data, "decoder": "upernet", "kernels": options.kernels, "scale": list(recipe.scale)}
        shared["inference"] = options.mode
        if options.mode == "slide":
            shared |= {"crop": recipe.crop, "stride": recipe.stride}
        if options.weights is None:
            own = {
                "stage": "trained",
                "weights": RANDOM if options.backbone_weights is None else "pretrained",
                "train_fingerprints": self.sets.train_fingerprints(),
                "recipe": recipe.name,
                "recipe_sha": hashlib.sha256(canonical_json(recipe.to_dict()).encode()).hexdigest()[:12],
                "seed": options.seed,
            }
        elif options.weights == RANDOM:
            own = {"stage": "weights-only", "weights": RANDOM, "seed": options.seed}
            own |= {"channels": recipe.channels, "layer_scale": recipe.layer_scale}
        else:
            own = {"stage": "weights-only"}
        cells = {COMMONEST: Cell(Ade20k.name, COMMONEST, {**data, "stage": "baseline"})}
        for name in options.backbones:
            digest = self.digests.get(name)
            found = {} if digest is None else {"weights_sha256": digest, "weights": digest[:16]}
            cells[name] = Cell(Ade20k.name, name, {**shared, **own, **found})
        return cells

    def rows(self, store: Store, resume: bool) -> Iterator[Row]:
        cells = self.cells()
        finished = finished_rows(list(cells.values()), store) if resume else {}
        for subject, cell in cells.items():
            row = finished.get(cell.key)
            if row is not None:
                self.say(f"{subject}: already measured, row {cell.key}")
            else:
                row = self._row(subject, cell, store, resume)
            self.made += 1
            yield row

    def weights(self, resume: bool) -> Iterator[Path]:
        if self.options.weights is not None:
            raise UsageError("--weights gives trained weights; leave it out, or use `bench run ade20k`")
        for subject, cell in self.cells().items():
            if subject != COMMONEST:
                path = weights_file(self.options.cache, cell.key)
                if not (resume and path.is_file()):
                    torch.manual_seed(self.options.seed)
                    self._trained(subject, cell, resume)
                self.made += 1
                self.say(f"{subject}: trained weights in {path}")
                yield path

    def _row(self, subject: str, cell: Cell, store: Store, resume: bool) -> Row:
        # What is wrong with the data is wrong for every subject.
        self.checked()
        try:
            if subject == COMMONEST:
                return self._baseline(cell, store)
            return self._measured(subject, cell, store, resume)
        except KeyboardInterrupt as stop:
            self._store(failed_row(cell, stop, self.options.device), store)
            raise
        except Exception as error:
            row = failed_row(cell, error, self.options.device)
            self._store(row, store)
            if world_size() > 1:
                raise LinBenchError(f"{subject}: {row.error}; the other processes wait for this one") from error
            return row

    def _baseline(self, cell: Cell, store: Store) -> Row:
        """Predicting the class that has the most pixels everywhere: the best of all constant predictions."""
        evaluation = self.checked().evaluation
        number = int(np.argmax(evaluation.pixels))
        matrix = constant_confusion(evaluation.pixels, number)
        row = Row(
            cell,
            "ok",
            metrics={**score_metrics(matrix), "n": len(evaluation.dataset)},
            samples=class_samples(matrix, evaluation.dataset.table),
            provenance={
                **collect(self.options.device),
                "run": {**self._facts(), "class": evaluation.dataset.table.names[number]},
            },
        )
        return self._store(row, store)

    def _measured(self, subject: str, cell: Cell, store: Store, resume: bool) -> Row:
        options = self.options
        torch.manual_seed(options.seed)
        trained: Trained | None = None
        if options.weights is None:
            segmenter, trained = self._trained(subject, cell, resume)
        elif options.weights == RANDOM:
            segmenter = new_segmenter(subject, len(self.sets.splits.table), options)
        else:
            self.say(f"{subject}: loading weights")
            path = resolve_weights(subject, options.weights)
            segmenter = load_segmenter(subject, len(self.sets.splits.table), path, kernels=options.kernels)
            check_class_names(path, self.sets.splits.table.names)
        return self._scored(segmenter.to(options.device).eval(), cell, store, trained)

    def _trained(self, subject: str, cell: Cell, resume: bool) -> tuple[Segmenter, Trained]:
        options = self.options
        train = self.checked().train
        assert train is not None  # `choose_sets` refuses to train without
        if not resume:
            if is_main():
                Checkpointer(self._folder(cell) / STAGE).clear()
            wait_for_all()
        segmenter = new_segmenter(subject, len(self.sets.splits.table), options).to(options.device)
        self.say(f"{subject}: training ({options.recipe.name} recipe, seed {options.seed})")
        trained = train_segmenter(
            segmenter,
            train.dataset,
            options,
            folder=self._folder(cell),
            probe=lambda: {"probe_miou": score_metrics(self._evaluated(segmenter, PROBE_IMAGES)[0].matrix)["miou"]},
        )
        return segmenter, trained

    def _evaluated(self, segmenter: Segmenter, limit: int | None = None, *, keep: int = 0) -> tuple[Evaluation, float]:
        recipe = self.options.recipe
        predictor = Predictor(
            segmenter, self.options.device, recipe.scale, self.options.mode, recipe.crop, recipe.stride
        )
        found = evaluate(
            predictor,
            self.checked().evaluation.dataset,
            limit=limit,
            keep=keep,
            workers=self.options.workers,
            on_image=lambda done, total: self.say(f"scoring image {done}/{total}"),
        )
        return found, predictor.seconds

    def _scored(self, segmenter: Segmenter, cell: Cell, store: Store, trained: Trained | None) -> Row:
        options, table = self.options, self.sets.splits.table
        found, seconds = self._evaluated(segmenter, keep=options.gallery)
        metrics = {**score_metrics(found.matrix), "n": len(found.names), "network_seconds": seconds}
        row = Row(
            cell,
            "ok",
            metrics={**metrics, **parameter_counts(segmenter), **(trained.metrics() if trained else {})},
            samples={
                **class_samples(found.matrix, table),
                **image_samples(found),
                **(trained.samples() if trained else {}),
            },
            provenance={
                **collect(options.device),
                "run": {
                    **self._facts(),
                    "kernels": self._operators(cell.backbone),
                    "processes": world_size(),
                    **(trained.facts(options) if trained else {}),
                },
            },
        )
        self._store(row, store)
        if options.gallery and is_main():
            stem = f"gallery-{Ade20k.name}-{folder_name(cell.backbone)}-{self.sets.kind}-{cell.params['stage']}"
            draw_gallery(store.root / "figures" / f"{stem}.png", found, table)
        if trained is not None and is_main():
            trained.clear()
            self.say(f"{cell.backbone}: trained weights in {trained.weights}")
        return row

    def _facts(self) -> dict[str, Any]:
        """How it was run."""
        checked = self.checked()
        bad = {
            "evaluation": checked.evaluation.bad,
            "training": checked.train.bad if checked.train is not None else (),
        }
        return {
            "bad_images": {side: list(lines) for side, lines in bad.items() if lines},
            "threads": torch.get_num_threads(),
            "eval_precision": "fp32",
            "precision": resolve_precision(self.options.recipe.precision, torch.device(self.options.device)),
        }

    def _operators(self, backbone: str) -> dict[str, str]:
        return {
            name: resolve_backend(name, self.options.device, torch.float32, self.options.kernels)
            for name in backbone_spec(backbone).operators
        }

    def _digests(self) -> dict[str, str]:
        """SHA-256 of the weights that each backbone starts from, found before anything is measured."""
        given = self.options.weights if self.options.weights is not None else self.options.backbone_weights
        if given is None or given == RANDOM:
            return {}
        return {name: weights_sha256(resolve_weights(name, given)) for name in self.options.backbones}

    def _folder(self, cell: Cell) -> Path:
        return weights_file(self.options.cache, cell.key).parent

    @staticmethod
    def _store(row: Row, store: Store) -> Row:
        # What fails in another process than the main one is known there alone.
        if is_main() or row.status in ("failed", "oom"):
            store.write(row)
        return row
