"""Data sets and weights: what is here, whether it is whole, and where to get what is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...backbones.checkpoints import CHECKPOINTS
from ...backbones.weight_files import cached_path, is_cached
from ...errors import LinBenchError
from ...heads.sam.weights import DEMO_FOLDER
from ..data.checks import check_dataset
from ..data.datasets import DATASETS
from ..data.demo.build import demo_root
from ..data.demo.publish import read_manifest
from ..data.mixes import get_mix
from ..inventory import Records
from ..sam_hq.options import MASK_SETS
from .findings import RUN, Fault

SAMPLES = 4
WHOLE, PARTLY, MISSING = "whole", "partly", "not found"


def check_data(root: Path | None, cache: Path) -> tuple[Records, list[Fault]]:
    """The demo data, and below a data root every registered set, a few of whose images are read."""
    demo, faults = _demo(cache, needed=root is None)
    if root is None:
        record = {"data set": "real ones", "state": "not looked for", "reason": "LINBENCH_DATA is not set"}
        return [demo, {**record, "mend": "export LINBENCH_DATA=FOLDER"}], faults
    if not root.is_dir():
        what = f"the data root {root} does not exist"
        return [demo], [*faults, Fault(what, "set LINBENCH_DATA to the folder of your data sets, or unset it", (RUN,))]
    records = [_checked(name, root) for name in DATASETS]
    return [demo, *records], faults + _lacking(root, {record["data set"]: record["state"] for record in records})


def check_weights(cache: Path) -> tuple[Records, list[Fault]]:
    """The demo weights, by their hash, and the official checkpoints that are here."""
    problem = demo_weights_problem(DEMO_FOLDER)
    mend = "`git checkout heads/sam/demo_weights`, or install LinBench again"
    records: Records = [
        {"weights": "demo (rwkvsam-t)", "state": problem or "whole", "file": str(DEMO_FOLDER), "mend": problem and mend}
    ]
    here = [checkpoint for checkpoint in CHECKPOINTS if is_cached(checkpoint, cache=cache)]
    records += [
        {
            "weights": checkpoint.name,
            "state": "here",
            "file": str(cached_path(checkpoint, cache=cache)),
            "mend": f"bench weights check {checkpoint.name}",
        }
        for checkpoint in here
    ]
    rest = f"{len(CHECKPOINTS) - len(here)} not here"
    records.append({"weights": "official", "state": rest, "mend": "bench weights list; bench weights get NAME"})
    return records, [Fault(f"the demo weights are damaged ({problem})", mend, (RUN,))] if problem else []


def demo_weights_problem(folder: Path) -> str:
    """What is wrong with the demo weights that come with the package; empty if their hash is right."""
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines()
        for sha256, name in (line.split() for line in lines):
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256:
                return f"{name} is not the file of that hash"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def _demo(cache: Path, *, needed: bool) -> tuple[dict[str, str], list[Fault]]:
    root = demo_root(cache=cache)
    try:
        drawn = read_manifest(root) is not None
    except LinBenchError as error:
        mend = f"rm -r {root} && bench data demo"
        record = {"data set": "demo", "state": "damaged", "reason": str(error), "mend": mend}
        return record, [Fault("the demo data are damaged", f"`{mend}`", (RUN,))] if needed else []
    state = "drawn" if drawn else "not drawn yet"
    reason = "" if drawn else "the first run draws them"
    return {"data set": "demo", "state": state, "where": str(root), "reason": reason}, []


def _checked(name: str, root: Path) -> dict[str, str]:
    spec = DATASETS[name]
    missing = {"data set": name, "state": MISSING, "reason": f"expected {spec.tree}", "mend": f"get it: {spec.source}"}
    try:
        report = check_dataset(name, root, limit=SAMPLES)
    except LinBenchError as error:
        return {**missing, "reason": str(error)}
    if not report.found:
        return {**missing, "reason": report.problems[0]} if report.root and report.problems else missing
    record = {
        "data set": name,
        "state": WHOLE if report.ok else PARTLY,
        "where": str(Path(report.root).relative_to(root)),
        "images": f"{report.found}" + (f" of {report.expected}" if report.expected else ""),
    }
    if not report.ok:
        record |= {"reason": "; ".join(report.problems[:2]), "mend": f"bench data check {name} --data {root}"}
    return record


def _lacking(root: Path, states: dict[str, str]) -> list[Fault]:
    """What the default command needs below a data root: its evaluation sets and one training set."""
    faults = [
        Fault(f"{name} is {states[name]} under {root}", f"`bench data check {name} --data {root}` says why", (RUN,))
        for name in MASK_SETS
        if states.get(name) != WHOLE
    ]
    training = [one.name for one in get_mix("rwkvsam").sets]
    if not any(states.get(name) in {WHOLE, PARTLY} for name in training):
        what = f"no training set ({', '.join(training)}) under {root}"
        faults.append(Fault(what, "unset LINBENCH_DATA to train on the demo data, or get one of them", (RUN,)))
    return faults
