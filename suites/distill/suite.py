"""Plan and run of the suite `distill`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...backbones import backbone_options, backbone_spec
from ...backbones.weights import file_sha256, load_checkpoint, weights_sha256
from ...errors import LinBenchError
from ...heads.sam import System, create_system, system_spec
from ...heads.sam.build import EMBED_DIM
from ...heads.sam.system import STRIDE
from ...heads.sam.weights import weights_path
from ...kernels import resolve_backend
from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ...results.store import Store
from ..base import Event, Progress
from ..failures import check_device, failed_row
from ..sam_hq.rows import curve_samples
from ..training.checkpoint import Checkpointer, save_tensors, weights_file
from ..training.options import resumed
from ..training.processes import is_main, world_size
from ..training.shards import wait_for_all
from .cache import EmbeddingCache
from .fill import check_space, fill, free_bytes
from .images import DistillImages, open_images
from .options import DistillOptions
from .sizes import size_text
from .stream import DistillStream, TeacherBatch
from .train import STAGE, distill_encoder

MOST_WORKERS = 8


class Distill:
    """Distillation of an encoder; see `suites.base.Suite`."""

    name = "distill"
    summary = "an encoder's mean squared error to a teacher's image embeddings"

    def plan(self, options: DistillOptions) -> list[Cell]:
        """The one row of a run. Draws the demo data where they are needed, for their fingerprint."""
        return [_Run(options).cell]

    def run(
        self, options: DistillOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Compute embeddings where they are to be kept, train, store the row and yield it; see `suites.base.Suite.run`.

        Raises:
            StoreError: The embeddings do not fit on the disk, or something cannot be written.
        """
        run = _Run(resumed(options, resume), progress)
        found = store.done(run.cell) if resume else None
        if found is not None:
            run.say(f"{options.student}: already trained, row {run.cell.key}")
            yield found
            return
        try:
            row = run.row()
        except KeyboardInterrupt as stop:
            store.write(failed_row(run.cell, stop, options.device))
            raise
        except (LinBenchError, RuntimeError, MemoryError) as error:
            row = failed_row(run.cell, error, options.device)
        store.write(row)
        if row.status == "ok" and is_main():
            Checkpointer(run.folder / STAGE).clear()
        yield row


SUITE = Distill()


def announce(options: DistillOptions) -> dict[str, Any]:
    """What a run would do and write, without doing it: images, systems, bytes, the folder and its free space.

    The demo data are drawn where they are needed, to be counted.
    """
    run = _Run(options)
    cache = run.cache
    told = {
        "student": options.student,
        "teacher": f"{options.teacher}, {options.weights} weights",
        "data": options.data,
        "images": len(run.images),
        "frame": options.recipe.frame,
        "steps": options.recipe.distill.steps,
        "row": run.cell.key,
        "embeddings": "computed beside the training" if cache is None else options.dtype,
    }
    if cache is not None:
        told |= {
            "bytes an image": cache.bytes_each,
            "bytes in all": cache.bytes_total,
            "bytes to write": cache.bytes_missing,
            "bytes free": free_bytes(cache.folder),
            "folder": str(cache.folder),
        }
    return told


def trained_weights(row: Row, cache: Path) -> Path:
    """Where a run left the trained system of its row."""
    return weights_file(cache, row.cell.key)


class _Run:
    """One call of the suite: its images, opened once, and its options."""

    def __init__(self, options: DistillOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress = progress
        check_device(options.device)
        options.recipe.distill.share(world_size())
        self.teacher_sha = weights_sha256(weights_path(options.teacher, options.weights))
        self.images = open_images(options, drawing=lambda done, total: self.say(f"drawing demo data {done}/{total}"))
        self.fingerprint = self.images.fingerprint()
        self.cell = _cell(options, self.images, self.fingerprint, self.teacher_sha)
        self.folder = weights_file(options.cache, self.cell.key).parent
        self.cache = self._open_cache() if options.cached else None

    def say(self, message: str) -> None:
        if self.progress is not None:
            self.progress(Event(0, 1, message))

    def row(self) -> Row:
        options, recipe = self.options, self.options.recipe
        if self.cache is not None:
            check_space(self.cache)
        torch.manual_seed(options.seed)
        student = _system(options, options.student, layer_scale=recipe.layer_scale)
        if options.student_weights is not None:
            load_checkpoint(student.backbone, options.student_weights)
        with torch.no_grad():
            student.eval().encode(torch.zeros(1, 3, recipe.frame, recipe.frame, device=options.device))
        teacher = _system(options, options.teacher, weights=options.weights)
        started = time.monotonic()
        if self.cache is not None:
            self._fill(self.cache, teacher)
        filled = time.monotonic() - started
        streams: list[DistillStream] = []

        def batches(step: int, rank: int, world_size: int) -> Iterator[TeacherBatch]:
            streams.append(self._stream(student, teacher, rank, world_size))
            return streams[-1].batches(step, recipe.distill.steps, workers=_workers())

        self.say(f"{options.student}: learning from {options.teacher} ({recipe.name} recipe, seed {options.seed})")
        trained = distill_encoder(
            student,
            recipe,
            teacher=teacher,
            computed=self.cache is None,
            batches=batches,
            folder=self.folder,
            seed=options.seed,
            device=options.device,
            engine=options.engine,
        )
        weights = weights_file(options.cache, self.cell.key)
        if is_main():
            save_tensors(weights, student.state_dict(), {"system": options.student, "recipe": recipe.name})
        wait_for_all()
        curve = trained.curves[STAGE]
        bad = {**(self.cache.bad if self.cache is not None else {}), **(streams[-1].bad if streams else {})}
        metrics = {
            "mse_first": curve.points[0]["embedding"],
            "mse_last": curve.points[-1]["embedding"],
            "steps": curve.steps,
            "images": len(self.images),
            "train_seconds": curve.seconds,
            "data_wait_percent": curve.data_wait_percent,
            "embedding_seconds": filled if self.cache is not None else None,
            "embedding_gib": self.cache.bytes_total / 2**30 if self.cache is not None else None,
            "params_backbone": sum(p.numel() for p in student.backbone.parameters()),
        }
        facts = {
            "recipe": recipe.to_dict(),
            "precision": trained.precision,
            "trained_weights_sha256": file_sha256(weights),
            "bad_images": list(bad.values()),
            "threads": torch.get_num_threads(),
            "processes": world_size(),
            "kernels": {name: _kernels(options, name) for name in (options.student, options.teacher)},
        }
        provenance = {**collect(options.device), "run": facts}
        return Row(self.cell, "ok", metrics, curve_samples(trained.curves), provenance)

    def _open_cache(self) -> EmbeddingCache:
        options, preprocessing = self.options, system_spec(self.options.teacher).preprocessing
        side = options.recipe.frame // STRIDE
        identity = {
            "data_fingerprint": self.fingerprint,
            "teacher": options.teacher,
            "teacher_sha256": self.teacher_sha,
            "frame": options.recipe.frame,
            "geometry": preprocessing.geometry,
            "resampling": preprocessing.resampling,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        }
        key = hashlib.sha256(canonical_json({**identity, "dtype": options.dtype}).encode()).hexdigest()[:12]
        folder = options.embeddings or options.cache / "embeddings" / f"{options.teacher.replace('/', '%2F')}-{key}"
        return EmbeddingCache(
            folder, identity, count=len(self.images), shape=(EMBED_DIM, side, side), dtype=options.dtype
        )

    def _fill(self, cache: EmbeddingCache, teacher: System) -> None:
        self.say(
            f"embeddings of {cache.count:,} images: {size_text(cache.bytes_total)} in {cache.folder}, "
            f"{size_text(cache.bytes_missing)} of them to write, {size_text(free_bytes(cache.folder))} free"
        )
        fill(
            cache,
            self.images,
            teacher,
            frame=self.options.recipe.frame,
            device=self.options.device,
            max_bad=self.options.max_bad,
            workers=_workers(),
            say=self.say,
        )

    def _stream(self, student: System, teacher: System, rank: int, world_size: int) -> DistillStream:
        return DistillStream(
            self.images,
            student.preprocessing,
            teacher.preprocessing,
            frame=self.options.recipe.frame,
            batch_size=self.options.recipe.distill.share(world_size),
            seed=self.options.seed,
            cache=self.cache,
            rank=rank,
            world_size=world_size,
            max_bad=self.options.max_bad,
        )


def _cell(options: DistillOptions, images: DistillImages, fingerprint: str, teacher_sha: str) -> Cell:
    params = {
        "data": f"images-{images.kind}",
        "data_fingerprint": fingerprint,
        "images": len(images),
        "student": options.student,
        "teacher": options.teacher,
        "teacher_sha256": teacher_sha,
        "embeddings": options.dtype if options.cached else "computed",
        "frame": options.recipe.frame,
        "recipe": options.recipe.name,
        "recipe_sha": hashlib.sha256(canonical_json(options.recipe.to_dict()).encode()).hexdigest()[:12],
        "kernels": options.kernels,
        "seed": options.seed,
    }
    if options.student_weights is not None:
        params["student_sha256"] = weights_sha256(options.student_weights)
    return Cell(Distill.name, system_spec(options.student).backbone, params)


def _system(
    options: DistillOptions, name: str, *, weights: str | None = None, layer_scale: float | None = None
) -> System:
    backbone = system_spec(name).backbone
    overrides: dict[str, Any] = {"kernels": options.kernels} if backbone_spec(backbone).operators else {}
    if layer_scale is not None and "layer_scale" in backbone_options(backbone):
        overrides["layer_scale"] = layer_scale
    return create_system(name, weights=weights, **overrides).to(options.device)


def _kernels(options: DistillOptions, name: str) -> dict[str, str]:
    operators = backbone_spec(system_spec(name).backbone).operators
    return {one: resolve_backend(one, options.device, torch.float32, options.kernels) for one in operators}


def _workers() -> int:
    return max(2, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))
