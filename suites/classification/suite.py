"""Plan and run of the suite `classification`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...backbones import backbone_spec
from ...backbones.weight_files import resolve_weights
from ...backbones.weights import file_sha256, weights_sha256
from ...errors import LinBenchError, UsageError
from ...kernels import resolve_backend
from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ...results.store import Store
from ..base import Event, Progress, finished_rows
from ..data.class_names import check_class_names, written
from ..data.imagenet import LabelledImages
from ..failures import check_device, failed_row
from ..sam_hq.rows import curve_samples
from ..training.accelerators import open_accelerator
from ..training.checkpoint import Checkpointer, save_tensors, weights_file
from ..training.engine import Curve
from ..training.precision import resolve_precision
from ..training.processes import is_main, world_size
from ..training.shards import wait_for_all
from .evaluate import Scores, evaluate
from .models import check_size, create_model, drop_path, load_model, trained_size
from .options import ClassificationOptions
from .preprocess import TIMM, Preprocessing, preprocessing_of
from .rows import model_facts, score_samples
from .sets import Splits, open_splits, read_whole
from .stream import ClassStream, stage_share
from .train import STAGE, train_classifier

PUBLISHED_SIZE = 224
PROBE_IMAGES = 256


class Classification:
    """Top-1 and top-5 accuracy; see `suites.base.Suite`."""

    name = "classification"
    summary = "top-1 and top-5 accuracy on ImageNet or on class folders of your own (Table 4)"

    def plan(self, options: ClassificationOptions) -> list[Cell]:
        """A cell for each backbone. Draws the demo data where they are needed, for their fingerprint."""
        return list(_Run(options).cells().values())

    def run(
        self, options: ClassificationOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Train and evaluate, or evaluate given weights; each row is stored as soon as it is made, and yielded.

        A backbone that fails gives a row with status `failed` and the run goes on with the next one.

        Raises:
            UsageError: A name or option that cannot be meant.
            DataError: The data are missing, incomplete or unreadable.
            StoreError: Rows or checkpoints cannot be written.
        """
        yield from _Run(options, progress).rows(store, resume)

    def train(
        self, options: ClassificationOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Path]:
        """Train without an evaluation and yield each backbone's weights; see `suites.base.Trainer`.

        Raises:
            UsageError: The options give weights, so that nothing is to be trained.
        """
        yield from _Run(options, progress).weights(resume)


SUITE = Classification()


def trained_weights(row: Row, cache: Path) -> Path:
    """Where a run left the trained classifier of its row."""
    return weights_file(cache, row.cell.key)


class _Run:
    """One call of the suite: its data, opened once, and its options."""

    def __init__(self, options: ClassificationOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress = progress
        self.made = 0
        check_device(options.device)
        for name in options.backbones:
            self._operators(name)
        self.precision = resolve_precision(options.recipe.precision, torch.device(options.device))
        self.paths: dict[str, Path] = {}
        if options.weights is not None:
            self.paths = {name: resolve_weights(name, options.weights) for name in options.backbones}
        self.digests = {name: weights_sha256(path) for name, path in self.paths.items()}
        self.preprocessing = {name: self._preprocessing(name) for name in options.backbones}
        if world_size() > 1:
            # Joins the other processes, which share the evaluation too.
            open_accelerator(self.precision, options.device)
        self.splits = self._open()
        self.stage = options.recipe.optimisation(len(self.splits.train) if self.splits.train is not None else 1)
        if options.weights is None:
            stage_share(options.recipe, self.stage, world_size())
        self.read = False

    def say(self, message: str) -> None:
        if self.progress is not None:
            self.progress(Event(self.made, len(self.options.backbones), message))

    def cells(self) -> dict[str, Cell]:
        """Cells by backbone."""
        options, recipe = self.options, self.options.recipe
        shared: dict[str, Any] = {
            "data": self.splits.kind,
            "datasets": ["ImageNet"],
            "dataset_fingerprints": self.splits.fingerprints(),
            "classes": len(self.splits.val.classes),
            "limit": options.limit,
            "batch": options.batch,
            "kernels": options.kernels,
            "device": options.device,
        }
        own: dict[str, Any] = {"stage": "weights-only"}
        if self.splits.train is not None:
            own = {
                "stage": "trained",
                "weights": "random",
                "train_fingerprints": self.splits.train_fingerprints(),
                "recipe": recipe.name,
                "recipe_sha": hashlib.sha256(canonical_json(recipe.to_dict()).encode()).hexdigest()[:12],
                "seed": options.seed,
            }
        cells = {}
        for name in options.backbones:
            digest = self.digests.get(name)
            found = {} if digest is None else {"weights": digest[:16], "weights_sha256": digest}
            prepared = self.preprocessing[name]
            place = {"size": prepared.size, "preprocessing": prepared.to_dict()}
            cells[name] = Cell(Classification.name, name, {**shared, **own, **found, **place})
        return cells

    def rows(self, store: Store, resume: bool) -> Iterator[Row]:
        cells = self.cells()
        finished = finished_rows(list(cells.values()), store) if resume else {}
        for name, cell in cells.items():
            row = finished.get(cell.key)
            if row is not None:
                self.say(f"{name}: already measured, row {cell.key}")
            else:
                row = self._row(name, cell, store, resume)
            self.made += 1
            yield row

    def weights(self, resume: bool) -> Iterator[Path]:
        if self.options.weights is not None:
            raise UsageError("--weights gives trained weights; leave it out, or use `bench run classification`")
        for name, cell in self.cells().items():
            path = weights_file(self.options.cache, cell.key)
            if not (resume and path.is_file()):
                self._read_images()
                self._fitted(name, cell, self._new_model(name), resume)
            self.made += 1
            self.say(f"{name}: trained weights in {path}")
            yield path

    def _row(self, name: str, cell: Cell, store: Store, resume: bool) -> Row:
        self._read_images()
        try:
            row = self._evaluated(name, cell) if self.splits.train is None else self._trained(name, cell, resume)
        except KeyboardInterrupt as stop:
            if is_main():
                store.write(failed_row(cell, stop, self.options.device))
            raise
        except Exception as error:
            row = failed_row(cell, error, self.options.device)
        # What fails in another process than the main one is known there alone.
        if is_main() or row.status != "ok":
            store.write(row)
        if row.status == "ok" and self.splits.train is not None and is_main():
            Checkpointer(self._folder(cell) / STAGE).clear()
            self.say(f"{name}: trained weights in {weights_file(self.options.cache, cell.key)}")
        if row.status != "ok" and world_size() > 1:
            raise LinBenchError(f"{name}: {row.error}; the other processes wait for this one")
        return row

    def _evaluated(self, name: str, cell: Cell) -> Row:
        self.say(f"{name}: loading weights")
        size = self.preprocessing[name].size
        model, outputs = load_model(name, self.paths[name], kernels=self.options.kernels, size=size)
        check_class_names(self.paths[name], self.splits.val.classes)
        model.to(self.options.device)
        check_size(model, name, size, self.options.device)
        return self._scored_row(name, cell, model, self._scores(name, model, outputs), outputs)

    def _new_model(self, name: str) -> nn.Module:
        options, recipe = self.options, self.options.recipe
        torch.manual_seed(options.seed)
        model = create_model(name, self._outputs, kernels=options.kernels, recipe=recipe, size=recipe.size)
        model.to(options.device)
        for size in {recipe.size, self.preprocessing[name].size}:
            check_size(model, name, size, options.device)
        return model

    @property
    def _outputs(self) -> int:
        return len(self._train.classes)

    @property
    def _train(self) -> LabelledImages:
        assert self.splits.train is not None  # the caller has looked
        return self.splits.train

    def _fitted(self, name: str, cell: Cell, model: nn.Module, resume: bool) -> tuple[Curve, str, ClassStream]:
        """Train in place and save the weights; the curve, the precision and where the images came from."""
        options, recipe = self.options, self.options.recipe
        if not resume:
            if is_main():
                Checkpointer(self._folder(cell) / STAGE).clear()
            wait_for_all()
        stream = ClassStream(
            self._train,
            recipe,
            self.stage,
            self.preprocessing[name],
            seed=options.seed,
            max_bad=options.max_bad,
            workers=options.workers,
            pin=options.device != "cpu",
        )
        self.say(f"{name}: training ({recipe.name} recipe, seed {options.seed}, {self.stage.steps} steps at most)")
        curve, precision = train_classifier(
            model,
            stream,
            folder=self._folder(cell),
            seed=options.seed,
            device=options.device,
            engine=options.engine,
            probe=lambda: self._probe(name, model, self._outputs),
        )
        if is_main():
            size = str(self.preprocessing[name].size)
            facts = {"backbone": name, "recipe": recipe.name, "size": size, **written(self._train.classes)}
            save_tensors(weights_file(options.cache, cell.key), model.state_dict(), facts)
        wait_for_all()
        return curve, precision, stream

    def _trained(self, name: str, cell: Cell, resume: bool) -> Row:
        options, recipe, outputs = self.options, self.options.recipe, self._outputs
        model = self._new_model(name)
        before = self._scores(name, model, outputs).summary()
        curve, precision, stream = self._fitted(name, cell, model, resume)
        scores = self._scores(name, model, outputs)
        facts = {
            "recipe": recipe.to_dict(),
            "precision": precision,
            "steps": {STAGE: curve.steps},
            "drop_path": drop_path(name, recipe),
            "trained_weights_sha256": file_sha256(weights_file(options.cache, cell.key)),
            "bad_training_images": list(stream.bad.values()),
            "train_workers": options.workers,
        }
        metrics = {"top1_before": before["top1"], "loss_before": before["loss"], **self._curve_metrics(curve)}
        samples = curve_samples({STAGE: curve})
        return self._scored_row(name, cell, model, scores, outputs, facts=facts, metrics=metrics, samples=samples)

    def _scored_row(
        self,
        name: str,
        cell: Cell,
        model: nn.Module,
        scores: Scores,
        outputs: int,
        *,
        facts: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        samples: dict[str, list[Any]] | None = None,
    ) -> Row:
        classes = self.splits.val.output_names(outputs)
        run = {
            "outputs": outputs,
            "mixer": backbone_spec(name).mixer,
            "logits_sha256": scores.digest(),
            "bad_images": scores.bad,
            "kernels": self._operators(name),
            "threads": torch.get_num_threads(),
            "processes": world_size(),
            "eval_precision": "fp32",
            "eval_workers": self.options.workers,
            **(facts or {}),
        }
        return Row(
            cell,
            "ok",
            metrics={
                **scores.summary(),
                "chance_top1": 100 / outputs,
                "network_seconds": scores.seconds,
                **model_facts(model),
                **(metrics or {}),
            },
            samples={**score_samples(scores, classes), **(samples or {})},
            provenance={**collect(self.options.device), "run": run},
        )

    def _scores(self, name: str, model: nn.Module, outputs: int, *, chosen: list[int] | None = None) -> Scores:
        options, val = self.options, self.splits.val
        return evaluate(
            model,
            val,
            val.targets(outputs),
            preprocessing=self.preprocessing[name],
            device=options.device,
            batch=options.batch,
            workers=options.workers,
            limit=options.limit,
            chosen=chosen,
            max_bad=options.max_bad,
            on_image=lambda done, total: self.say(f"{name}: evaluating {done}/{total}"),
        )

    def _probe(self, name: str, model: nn.Module, outputs: int) -> dict[str, float]:
        """Scores on images spread over the split."""
        count = len(self.splits.val)
        chosen = np.unique(np.linspace(0, count - 1, min(count, PROBE_IMAGES)).round().astype(int)).tolist()
        found = self._scores(name, model, outputs, chosen=chosen).summary()
        return {"probe_top1": found["top1"], "probe_loss": found["loss"]}

    def _curve_metrics(self, curve: Curve) -> dict[str, float]:
        seen = curve.steps * self.stage.images
        return {
            "train_seconds": curve.seconds,
            "train_images": seen,
            "train_images_per_s": seen / curve.seconds if curve.seconds else 0.0,
            "data_wait_percent": curve.data_wait_percent,
        }

    def _open(self) -> Splits:
        def drawing(done: int, total: int) -> None:
            self.say(f"drawing demo data {done}/{total}")

        splits = open_splits(self.options, drawing=drawing) if is_main() else None
        wait_for_all()  # the main process draws
        return splits or open_splits(self.options)

    def _read_images(self) -> None:
        """Look at all images of small splits once, before the first row is made."""
        if self.read:
            return
        self.read = True
        for split in (self.splits.train, self.splits.val):
            if split is not None and (split is not self.splits.val or self.options.limit is None):
                self.say(f"reading images of {split.name}")
                read_whole(split, max_bad=self.options.max_bad, workers=self.options.workers)

    def _preprocessing(self, name: str) -> Preprocessing:
        options = self.options
        if options.weights is None:
            return preprocessing_of(name, options.size or options.recipe.eval_size, PUBLISHED_SIZE)
        return preprocessing_of(name, options.size or trained_size(self.paths[name]), PUBLISHED_SIZE)

    def _operators(self, name: str) -> dict[str, str]:
        """The backend of each of LinBench's operators that a backbone calls."""
        options, operators = self.options, backbone_spec(name).operators
        if not operators and options.kernels != "auto" and not name.startswith(TIMM):
            raise UsageError(f"'{name}' calls none of LinBench's operators; leave --kernels {options.kernels} out")
        return {op: resolve_backend(op, options.device, torch.float32, options.kernels) for op in operators}

    def _folder(self, cell: Cell) -> Path:
        return weights_file(self.options.cache, cell.key).parent
