"""Segment a user's images one after the other: read, segment, draw, store; what is stored is not done again."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ...backbones.weights import weights_sha256
from ...errors import DataError, UsageError
from ...heads.sam import create_system, system_spec
from ...heads.sam.automatic import MaskGenerator, default_options, several_masks
from ...heads.sam.predictor import Predictor
from ...heads.sam.weights import demo_systems, weights_path
from ...results.provenance import collect
from ..base import Event, Progress
from ..data.decode import Pixels, file_hash, read_image
from ..runner.failures import describe
from .images import find_images
from .options import PredictOptions
from .pictures import everything_pictures, prompted_pictures
from .prompts import Prompt, parse_prompts, read_prompts
from .record import Record, ResultFiles, check_writable, record_key
from .segment import Fact, segment_everything, segment_prompts

SCHEMA = 1
"""Of the JSON files; results of another schema are made again."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Report = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the images.

    Attributes:
        rows: What `bench predict` shows of each image.
        bad: One line for each image that could not be used, with its name.
        unused: Names in the prompts file that are not among the images.
        weights: What the masks are of, `demo` or the like.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    weights: str = ""

    def complaint(self) -> str:
        """One line for the images that could not be used."""
        count = len(self.bad)
        first = f"{self.bad[0]}{', and others named above' if count > 1 else ''}"
        return (
            f"{count} of {count + len(self.rows)} images could not be used: {first}; mend them, or tolerate them with "
            f"--max-bad {count}"
        )


def predict_images(options: PredictOptions, *, progress: Progress | None = None) -> Outcome:
    """Segment images; each leaves masks, an overlay and a JSON record under `options.out`.

    An image that cannot be used (unreadable, a prompt outside of it, no prompt for it, too large for the memory) is
    named in the outcome, and the rest goes on.

    Raises:
        UsageError: Options that do not fit together or name what is not there.
        DataError: A folder or pattern without images.
        WeightsError: The weights are missing, damaged or of another system.
        StoreError: The results' folder cannot be written.
    """
    given = parse_prompts(options.boxes, options.points)
    named = read_prompts(options.prompts) if options.prompts else {}
    images = find_images(options.images, out=options.out)
    session = _Session(options)
    check_writable(options.out)
    unused = [name for name in named if not any(name in (path.name, str(path)) for path in images)]
    outcome = Outcome(unused=unused, weights=session.weights)
    for done, path in enumerate(images):

        def report(message: str, done: int = done) -> None:
            if progress is not None:
                progress(Event(done, len(images), message))

        report(path.name)
        prompts = named.get(str(path)) or named.get(path.name) or given
        try:
            outcome.rows.append(session.predict(path, prompts, report))
        except DataError as error:
            text = str(error)
            outcome.bad.append(text if str(path) in text else f"{path}: {text}")
    return outcome


class _Session:
    """The system, built when the first image needs it, and what all records share."""

    def __init__(self, options: PredictOptions) -> None:
        self.options = options
        self.weights = options.weights or ("demo" if options.system in demo_systems() else "official")
        system_spec(options.system)
        self.sha256 = weights_sha256(weights_path(options.system, self.weights))
        # The first image's times hold what is loaded and compiled once; its record says so.
        self.built = False

    @cached_property
    def predictor(self) -> Predictor:
        options = self.options
        system = create_system(options.system, weights=self.weights)
        if not several_masks(system) and (options.multimask or options.choice == "best"):
            raise UsageError(f"'{options.system}' has one mask token; leave --multimask and --choice best out")
        return Predictor(system, frame=options.frame, device=options.device, dtype=DTYPES[options.dtype])

    @cached_property
    def generator(self) -> MaskGenerator:
        automatic = replace(default_options(self.predictor.system), **self.options.automatic)
        return MaskGenerator(self.predictor, automatic)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        facts = collect(self.options.device)
        return {name: facts[name] for name in ("linbench", "python", "packages", "device")}

    def predict(self, path: Path, prompts: tuple[Prompt, ...], report: Report) -> dict[str, Any]:
        options = self.options
        started = time.perf_counter()
        image = _read(path)
        read_s = time.perf_counter() - started
        height, width = image.shape[:2]
        prompts = tuple(prompt.inside(height, width) for prompt in prompts)
        if not prompts and not options.everything:
            raise DataError(f"no prompts for it in {options.prompts}, and no --box or --point for all images")
        inputs = {
            "schema": SCHEMA,
            "image": path.name,
            "image_sha256": file_hash(path),
            "system": options.system,
            "weights_sha256": self.sha256,
            "frame": options.frame,
            "dtype": options.dtype,
            "multimask": options.multimask,
            "choice": options.choice,
            "prompts": [prompt.to_dict() for prompt in prompts],
            "everything": {**options.automatic} if options.everything else None,
        }
        key, files = record_key(inputs), ResultFiles(options.out, path.stem)
        if not options.again and (stored := files.finished(key)) is not None:
            return _row(stored, "there already")
        warm = self.built
        facts, seconds = self._segment(image, prompts, lambda message: report(f"{path.name}: {message}"))
        self.built = True
        record = {
            **inputs,
            "key": key,
            "size": [height, width],
            "weights": self.weights if options.weights is None else Path(options.weights).name,
            "everything": asdict(self.generator.options) if options.everything else None,
            "masks": facts,
            "seconds": {"read": round(read_s, 4), **seconds},
            "warm": warm,
            "provenance": self.provenance,
        }
        pictures = everything_pictures(image, facts) if options.everything else prompted_pictures(image, facts, prompts)
        files.write(record, pictures)
        return _row(record, "new")

    def _segment(
        self, image: Pixels, prompts: tuple[Prompt, ...], report: Report
    ) -> tuple[list[Fact], dict[str, float]]:
        options, predictor = self.options, self.predictor
        predictor.seconds.clear()
        started = time.perf_counter()
        try:
            if options.everything:
                facts = segment_everything(self.generator, image, lambda done, total: report(f"{done}/{total} points"))
            else:
                facts = segment_prompts(predictor, image, prompts, multimask=options.multimask, choice=options.choice)
        except (MemoryError, RuntimeError) as error:
            failure = describe(error)
            if failure.status != "oom":
                raise
            raise DataError(f"an image of {image.shape[1]}x{image.shape[0]} pixels: {failure.error}") from error
        finally:
            predictor.reset()
        encode, decode = predictor.seconds["encode"], predictor.seconds["decode"]
        rest = time.perf_counter() - started - encode - decode
        times = {"encode": encode, "decode": decode, "postprocess": rest}
        return facts, {name: round(value, 4) for name, value in times.items()}


def _read(path: Path) -> Pixels:
    with warnings.catch_warnings():
        # Pillow warns of images that are merely large; those that are absurdly large it refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return read_image(path)


def _row(record: Record, state: str) -> dict[str, Any]:
    masks, (height, width), seconds = record["masks"], record["size"], record["seconds"]
    largest = max((mask["area"] for mask in masks), default=0)
    return {
        "image": record["image"],
        "size": f"{width}x{height}",
        "masks": len(masks),
        "largest %": round(100 * largest / (height * width), 1),
        "encode s": round(seconds["encode"], 2),
        "decode s": round(seconds["decode"], 2),
        "post s": round(seconds["postprocess"], 2),
        "state": state,
    }
