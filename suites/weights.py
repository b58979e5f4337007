"""What `bench weights` does: list official checkpoints, get them, check files against what is known of them."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backbones import list_backbones
from ..backbones.checkpoints import BY_HAND, CHECKPOINTS, Checkpoint, checkpoints_for
from ..backbones.weight_files import cached_path, examine, find_checkpoint, is_cached, recorded_sha256
from ..errors import LinBenchError, UsageError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

Records = list[dict[str, Any]]


def list_weights(pattern: str = "*", *, cache: Path | None = None) -> Records:
    """Official checkpoints whose own name, or whose backbone's or system's name, matches a shell pattern.

    Raises:
        UsageError: None does.
    """
    records = [
        _record(checkpoint, cache)
        for checkpoint in CHECKPOINTS
        if any(fnmatch.fnmatch(name, pattern) for name in (checkpoint.name, *checkpoint.subjects))
    ]
    if not records:
        raise UsageError(f"no official weights match '{pattern}'; `bench weights list` shows all")
    return records


def shown(records: Records) -> Records:
    """The records in the columns of a table for a person."""
    return [
        {
            "name": record["name"],
            "also for": ", ".join(record["for"][1:]),
            "file": record["file"],
            "size": "" if record["bytes"] is None else f"{record['bytes'] / 2**20:,.0f} MiB",
            "licence": record["licence"],
            "hash": record["hash"],
            "here": "yes" if record["path"] else "",
            "verified": "yes" if record["verified"] else "no",
        }
        for record in records
    ]


def notes() -> list[str]:
    """What is not in the listing, and what its columns mean."""
    return [
        "hash: what its publishers state; where that is nothing, the SHA-256 of the first download is kept and held to",
        "verified: whether LinBench's authors have loaded the real file and found its published score",
        *(f"not here: {start}*: {why}" for start, why in BY_HAND.items() if start != "timm:"),
    ]


def check_weights(name: str | None = None, file: Path | None = None, *, cache: Path | None = None) -> Records:
    """Check files: their hash, that they load with no key missing or unexpected, that all values are finite.

    Args:
        name: Backbone, system or official checkpoint; None for every official checkpoint that is in the cache.
        file: A file to check as `name`; None for that in the cache.
        cache: Cache folder instead of the set one.

    Returns:
        One record for each file; `fault` is empty where all is well.

    Raises:
        UsageError: No such name, or a file without a name.
        WeightsError: The file is not there.
    """
    if file is not None and name is None:
        raise UsageError(
            f"{file} is to be checked, but as what? Name a backbone or system: `bench weights check vit-s FILE`"
        )
    if name is not None and file is None and not _is_subject(name) and Path(name).is_file():
        raise UsageError(f"{name} is a file, but as what is it to be checked? `bench weights check vit-s {name}`")
    if name is None:
        return [_check(c, cached_path(c, cache=cache), cache) for c in CHECKPOINTS if is_cached(c, cache=cache)]
    if file is None:
        checkpoint = find_checkpoint(name)
        if not is_cached(checkpoint, cache=cache):
            raise WeightsError(f"{checkpoint.name} is not here; `bench weights get {checkpoint.name}` gets it")
        return [_check(checkpoint, cached_path(checkpoint, cache=cache), cache)]
    if not file.is_file():
        raise WeightsError(f"weights not found: {file} is no file")
    if any(name == checkpoint.name for checkpoint in CHECKPOINTS):
        return [_check(find_checkpoint(name), file, cache)]
    return [_check_own(name, file)]


def _is_subject(name: str) -> bool:
    return bool(checkpoints_for(name.partition(":")[0])) or name in list_backbones()


def _record(checkpoint: Checkpoint, cache: Path | None) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "for": list(checkpoint.subjects),
        "file": checkpoint.file,
        "bytes": checkpoint.size,
        "licence": checkpoint.licence,
        "trained on": checkpoint.trained_on,
        "hash": checkpoint.digest_kind,
        "digest": checkpoint.digest,
        "recorded sha256": recorded_sha256(checkpoint, cache=cache),
        "address": checkpoint.address,
        "path": str(cached_path(checkpoint, cache=cache)) if is_cached(checkpoint, cache=cache) else "",
        "verified": checkpoint.verified,
        "note": checkpoint.note,
    }


def _check(checkpoint: Checkpoint, file: Path, cache: Path | None) -> dict[str, Any]:
    """Check a file that is to be an official checkpoint."""
    sha256, fault = examine(checkpoint, file, recorded=recorded_sha256(checkpoint, cache=cache))
    known = checkpoint.digest_kind if checkpoint.digest else "first download"
    record = {
        "name": checkpoint.name,
        "file": str(file),
        "hash": "another" if fault else f"as {known}",
        "sha256": sha256,
    }
    if fault:
        return {**record, "loads": "not tried", "finite": "not tried", "fault": f"it {fault}"}
    return {**record, **_contents(checkpoint.subjects, file, checkpoint.classes)}


def _check_own(name: str, file: Path) -> dict[str, Any]:
    """Check a file of the user's that is to fit a backbone or system; its hash says whether it is an official one."""
    contents = _contents((name,), file, 1000)
    for checkpoint in checkpoints_for(name):
        sha256, fault = examine(checkpoint, file)
        if checkpoint.digest and not fault:
            return {"name": name, "file": str(file), "hash": f"that of {checkpoint.name}", "sha256": sha256, **contents}
    from ..backbones.weights import file_sha256

    return {"name": name, "file": str(file), "hash": "of no official file", "sha256": file_sha256(file), **contents}


def _contents(subjects: tuple[str, ...], file: Path, classes: int) -> dict[str, str]:
    from ..backbones.official import non_finite, official_state
    from ..backbones.weights import read_checkpoint

    try:
        state = read_checkpoint(file)
    except WeightsError as error:
        return {"loads": "no", "finite": "not tried", "fault": str(error)}
    bad = non_finite(state)
    faults = [f"it holds {bad}"] if bad else []
    loads = []
    for subject in subjects:
        module = _hollow(subject, state, classes)
        if module is None:
            continue
        try:
            official_state(module, _finite(state))
            loads.append(subject)
        except LinBenchError as error:
            faults.append(f"{subject}: {error}" if len(subjects) > 1 else str(error))
    return {
        "loads": "into " + ", ".join(loads) if loads else "no" if faults else "not tried: there is no such model here",
        "finite": "no" if bad else "yes",
        "fault": "; ".join(faults),
    }


def _finite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    # Names and shapes are asked for here; values were looked at before, and need not be again.
    return {key: value.to("meta") for key, value in state.items()}


def _hollow(subject: str, state: dict[str, Tensor], classes: int) -> nn.Module | None:
    """The module that a file of this name is loaded into, without memory; None where nothing here has that name."""
    import torch

    from ..backbones import create_backbone
    from ..heads.classifier import create_classifier
    from ..heads.sam import create_system, list_systems

    with torch.device("meta"):
        if subject in list_systems() and (subject not in list_backbones() or _is_system(state)):
            return create_system(subject)
        if subject in list_backbones() or ":" in subject:
            return (
                create_classifier(subject, num_classes=classes)
                if classes and _has_head(state)
                else create_backbone(subject)
            )
    if not checkpoints_for(subject):
        from ..backbones import backbone_spec

        backbone_spec(subject)  # its error suggests near names
    return None


def _is_system(state: dict[str, Tensor]) -> bool:
    return any("mask_decoder." in key for key in state)


def _has_head(state: dict[str, Tensor]) -> bool:
    from ..backbones.official import CLASSIFIER_HEADS

    heads = tuple(f"{head}{kind}" for head in ("head.", *CLASSIFIER_HEADS) for kind in ("weight", "bias"))
    return any(key.endswith(heads) for key in state)
