"""Plan and run of the suite `sam-hq`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...backbones import backbone_options, backbone_spec
from ...backbones.weights import file_sha256, weights_sha256
from ...errors import LinBenchError, UsageError
from ...heads.sam import System, SystemSpec, create_system, system_spec
from ...heads.sam.refine import refine_operators
from ...heads.sam.systems import OFFICIAL, SUFFIX
from ...heads.sam.weights import DEMO, DEMO_SYSTEM, weights_path
from ...kernels import resolve_backend
from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ...results.store import Store, folder_name
from ..base import Event, Progress
from ..data.protocols import get_protocol
from ..failures import check_device, failed_row
from ..training.checkpoint import Checkpointer, save_tensors, weights_file
from ..training.options import resumed
from ..training.pipeline import Trained, train_system
from ..training.processes import is_main, world_size
from ..training.shards import wait_for_all
from .options import BOX_BASELINE, SamHqOptions, Stage
from .rows import curve_samples, draw_gallery, gallery_samples, score_samples
from .scoring import probe, score_sets
from .sets import choose_sets
from .stream import MaskStream


class SamHq:
    """Box-prompted high-quality masks."""

    name = "sam-hq"
    summary = "high-quality masks from box prompts, under one SAM decoder and recipe"

    def plan(self, options: SamHqOptions) -> list[Cell]:
        """The rows that a run makes, in order. Draws the demo data where they are needed, for their fingerprint."""
        return [cell for cells in _Run(options).cells().values() for cell in cells.values()]

    def run(
        self, options: SamHqOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Train and evaluate; each row is stored as soon as it is made, and yielded.

        A system that fails gives a row with status `failed` and the run goes on with the next one.

        Args:
            options: What to do.
            store: Where rows go.
            progress: Told what happens now.
            resume: Take ok rows that are there already instead of making them again.
        """
        yield from _Run(resumed(options, resume), progress).rows(store, resume)

    def train(
        self, options: SamHqOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Path]:
        """Train without an evaluation; a later `run` with the same options goes on from there.

        Yields:
            The weights of each system.

        Raises:
            UsageError: The options give weights, so that nothing is to be trained.
        """
        yield from _Run(resumed(options, resume), progress).weights(store, resume)


SUITE = SamHq()


class _Run:
    """One call of the suite: its data, opened once, and its options."""

    def __init__(self, options: SamHqOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress = progress
        check_device(options.device)
        systems = [*map(system_name, options.backbones), *options.systems]
        self.systems = {subject_label(name): system_spec(name) for name in systems}
        for spec in self.systems.values():
            for operator in self._operators(spec):
                resolve_backend(operator, options.device, torch.float32, options.kernels)
            if options.weights is not None:
                weights_path(spec.name, options.weights)
            if options.choice != "single" and spec.head == "common":
                raise UsageError(f"'{spec.name}' has one mask token; leave --choice {options.choice} out")
        self.made = 0
        get_protocol(options.protocol)
        for stage in (options.recipe.distill, options.recipe.joint):
            stage.share(world_size())
        self.sets = choose_sets(options, drawing=lambda done, total: self.say(f"drawing demo data {done}/{total}"))
        self.fingerprints = self.sets.fingerprints()

    def say(self, message: str) -> None:
        if self.progress is not None:
            self.progress(Event(self.made, self.total(), message))

    def total(self) -> int:
        stages = 1 if self.options.weights is not None or self.options.masks == () else 2
        return 1 + stages * len(self.systems)

    def cells(self) -> dict[str, dict[Stage, Cell]]:
        """Cells by subject and stage, the baseline first."""
        options = self.options
        data: dict[str, Any] = {
            "data": self.sets.kind,
            "datasets": self.sets.names,
            "dataset_fingerprints": self.fingerprints,
            "protocol": options.protocol,
            "limit": options.limit,
        }
        if self.sets.coco is not None:
            _, prompts = self.sets.coco
            data["boxes"] = prompts.sha256[:16] or prompts.source
            data["boxes_per_image"] = options.boxes_per_image
            if options.box_categories != "dataset":
                data["box_categories"] = options.box_categories
        cells: dict[str, dict[Stage, Cell]] = {
            BOX_BASELINE: {"baseline": Cell(SamHq.name, BOX_BASELINE, {**data, "stage": "baseline"})}
        }
        for subject, spec in self.systems.items():
            shared = {**data, "frame": options.eval_frame, "kernels": options.kernels, "split": self.sets.split}
            if options.batch != 1:
                shared["batch"] = options.batch
            if options.choice != "single":
                shared["choice"] = options.choice
            if options.refine != "auto":
                shared["refine"] = options.refine
            if options.weights is not None:
                path = weights_path(spec.name, options.weights)
                weights = DEMO if options.weights == DEMO else weights_sha256(path)[:16]
                params = {**shared, "stage": "weights-only", "weights": weights, "weights_sha256": weights_sha256(path)}
                cells[subject] = {"weights-only": Cell(SamHq.name, subject, params)}
                continue
            recipe = options.recipe.to_dict()
            trained = {
                **shared,
                "weights": "random" if options.teacher == "none" else f"from {self._teacher_label()}",
                "teacher_sha256": self._teacherweights_sha256(),
                "train_fingerprints": self.sets.train_fingerprints(),
                "recipe": options.recipe.name,
                "recipe_sha": hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:12],
                "seed": options.seed,
            }
            # What came after the first rows is named only where it differs from what they were made with: keys stay.
            if options.encoder != "auto":
                trained["encoder"] = options.encoder
            if not options.share_refine:
                trained["share_refine"] = False
            stages: tuple[Stage, ...] = ("before", "trained") if options.masks else ("trained",)
            cells[subject] = {stage: Cell(SamHq.name, subject, {**trained, "stage": stage}) for stage in stages}
        return cells

    def rows(self, store: Store, resume: bool) -> Iterator[Row]:
        for subject, cells in self.cells().items():
            found = {stage: store.done(cell) for stage, cell in cells.items()} if resume else {}
            if found and all(found.values()):
                for row in found.values():
                    if row is not None:
                        self.made += 1
                        self.say(f"{subject}: already measured, row {row.cell.key}")
                        yield row
                continue
            last = list(cells)[-1]
            try:
                for row in self._measure(subject, cells, store):
                    self.made += 1
                    yield row
            except KeyboardInterrupt as stop:
                store.write(failed_row(cells[last], stop, self.options.device))
                raise
            except (LinBenchError, RuntimeError, MemoryError) as error:
                row = failed_row(cells[last], error, self.options.device)
                store.write(row)
                self.made += 1
                yield row

    def weights(self, store: Store, resume: bool) -> Iterator[Path]:
        if self.options.weights is not None:
            raise UsageError("--weights gives trained weights; leave it out to train, or use `bench run sam-hq`")
        for subject, cells in self.cells().items():
            if subject != BOX_BASELINE:
                path = weights_file(self.options.cache, cells["trained"].key)
                if not (resume and path.is_file()):
                    self._train(subject, {"trained": cells["trained"]}, store)
                self.made += 1
                self.say(f"{subject}: trained weights in {path}")
                yield path

    def _measure(self, subject: str, cells: dict[Stage, Cell], store: Store) -> Iterator[Row]:
        options = self.options
        if subject == BOX_BASELINE:
            yield self._scored(None, cells["baseline"], store)
            return
        if options.weights is not None:
            self.say(f"{subject}: loading weights")
            system = self._system(self.systems[subject], weights=options.weights)
            yield self._scored(system, cells["weights-only"], store)
            return
        yield from self._trained(subject, cells, store)

    def _train(self, subject: str, cells: dict[Stage, Cell], store: Store) -> tuple[System, Trained, list[Row]]:
        """The trained system, its curves, and the row of the system before the joint stage if `cells` ask for it."""
        options, recipe = self.options, self.options.recipe
        weights = weights_file(options.cache, cells["trained"].key)
        torch.manual_seed(options.seed)
        spec = self.systems[subject]
        same = (
            options.teacher != "none"
            and self._teacher_system() == spec.name
            and options.refine == "auto"
            and options.encoder == "auto"
            and options.share_refine
        )
        student = self._system(spec, weights=options.teacher if same else None, fresh=not same)
        teacher = self._teacher() if options.teacher != "none" and not same else None
        before: list[Row] = []

        def score_before() -> None:
            if "before" in cells:
                before.append(store.done(cells["before"]) or self._scored(student, cells["before"], store))
                student.train()

        self.say(f"{subject}: training ({recipe.name} recipe, seed {options.seed})")
        trained = train_system(
            student,
            recipe,
            teacher=teacher,
            encoder=options.encoder,
            share_refine=options.share_refine,
            distill_batches=MaskStream(self.sets, recipe.distill, options, augmented=recipe.augment_distill),
            joint_batches=MaskStream(self.sets, recipe.joint, options, augmented=True),
            folder=weights.parent,
            seed=options.seed,
            device=options.device,
            probe=lambda: probe(student, self.sets, self.options),
            after_distill=score_before,
            engine=options.engine,
        )
        if is_main():
            save_tensors(weights, student.state_dict(), {"system": spec.name, "recipe": recipe.name})
        wait_for_all()
        return student, trained, before

    def _trained(self, subject: str, cells: dict[Stage, Cell], store: Store) -> Iterator[Row]:
        recipe, cell = self.options.recipe, cells["trained"]
        student, trained, before = self._train(subject, cells, store)
        yield from before
        weights = weights_file(self.options.cache, cell.key)
        extra = {
            "recipe": recipe.to_dict(),
            "precision": trained.precision,
            "steps": {name: curve.steps for name, curve in trained.curves.items()},
            "trained_weights_sha256": file_sha256(weights),
        }
        seconds = {f"{name}_seconds": curve.seconds for name, curve in trained.curves.items()}
        waited = sum(curve.data_seconds for curve in trained.curves.values())
        metrics = {**seconds, "train_seconds": sum(seconds.values())}
        if metrics["train_seconds"]:
            metrics["data_wait_percent"] = 100 * waited / metrics["train_seconds"]
        yield self._scored(student, cell, store, extra=extra, metrics=metrics, samples=curve_samples(trained.curves))
        if is_main():
            for name in trained.curves:
                Checkpointer(weights.parent / name).clear()
        self.say(f"{subject}: trained weights in {weights}")

    def _scored(
        self,
        system: System | None,
        cell: Cell,
        store: Store,
        *,
        extra: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        samples: dict[str, list[Any]] | None = None,
    ) -> Row:
        """Evaluate on every set, store the row and draw the gallery."""
        options = self.options
        if system is not None:
            system.eval()
        scores = score_sets(
            system,
            self.sets,
            options,
            results=options.cache / "predictions" / f"coco-{folder_name(cell.backbone)}-{cell.key}.json",
            say=lambda message: self.say(f"{cell.backbone}: {message}"),
        )
        row = Row(
            cell,
            "ok",
            metrics={**scores.metrics, **(metrics or {})},
            samples={
                **score_samples(scores.masks),
                **gallery_samples(scores.masks, store.root, self.sets.kind),
                **(samples or {}),
            },
            provenance={
                **collect(options.device),
                "run": {**scores.facts(self.sets), **self._facts(cell), **(extra or {})},
            },
        )
        store.write(row)
        if system is not None and options.gallery and is_main():
            stem = f"gallery-{folder_name(cell.backbone)}-{self.sets.kind}-{cell.params['stage']}"
            draw_gallery(store.root / "figures" / f"{stem}.png", scores.masks)
        return row

    def _facts(self, cell: Cell) -> dict[str, Any]:
        """How it was run."""
        spec = self.systems.get(cell.backbone)
        operators = self._operators(spec) if spec is not None else ()
        return {
            "system": spec.name if spec is not None else None,
            "kernels": {
                name: resolve_backend(name, self.options.device, torch.float32, self.options.kernels)
                for name in operators
            },
            "split": self.sets.split,
            "threads": torch.get_num_threads(),
            "processes": world_size(),
            "eval_precision": "fp32",
            "eval_batch": self.options.batch,
            "eval_workers": self.options.workers,
        }

    def _system(self, spec: SystemSpec, *, weights: str | None, fresh: bool = False) -> System:
        overrides: dict[str, Any] = {}
        if self._operators(spec):
            overrides["kernels"] = self.options.kernels
        if self.options.refine != "auto":
            overrides["refine"] = self.options.refine
        if fresh and self.options.recipe.layer_scale is not None and "layer_scale" in backbone_options(spec.backbone):
            overrides["layer_scale"] = self.options.recipe.layer_scale
        return create_system(spec.name, weights=weights, **overrides).to(self.options.device)

    def _operators(self, spec: SystemSpec) -> tuple[str, ...]:
        """LinBench's operators that a system calls."""
        return tuple(dict.fromkeys((*backbone_spec(spec.backbone).operators, *refine_operators(self.options.refine))))

    def _teacher_system(self) -> str:
        return DEMO_SYSTEM if self.options.teacher == DEMO else self.options.teacher_system

    def _teacher(self) -> System:
        return create_system(self._teacher_system(), weights=self.options.teacher).to(self.options.device)

    def _teacher_label(self) -> str:
        return DEMO if self.options.teacher == DEMO else self._teacherweights_sha256()[:12]

    def _teacherweights_sha256(self) -> str:
        if self.options.teacher == "none":
            return ""
        return weights_sha256(weights_path(self._teacher_system(), self.options.teacher))


def system_name(backbone: str) -> str:
    """The system of a backbone under the common decoder: RWKV-SAM's own has the backbone's name."""
    return backbone if backbone in OFFICIAL and OFFICIAL[backbone].head == "common" else backbone + SUFFIX


def subject_label(system: str) -> str:
    """A system's name in rows: the backbone's under the common decoder, unless another system has that name."""
    short = system.removesuffix(SUFFIX)
    return system if short in OFFICIAL else short
