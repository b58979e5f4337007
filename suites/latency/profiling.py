"""Profiles in place of times: a trace of each subject at each size, and a table of its longest operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import StoreError, UsageError
from ...results.files import write_atomic
from ...results.store import folder_name
from ..base import Event, Progress
from ..runner.subject import Subject, SubjectError
from .cells import planned_cells
from .options import AUTO, LatencyOptions
from .suite import check_device
from .sweep import subjects_of

_CALLS = 3


@dataclass(frozen=True)
class Profile:
    """One subject at one size.

    Attributes:
        title: Subject and size.
        trace: The trace, in Chrome's JSON.
        operators: Name, calls, milliseconds and share of each; see `tracing.trace`.
        error: Why there is none.
    """

    title: str
    trace: str = ""
    operators: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def shown(self) -> list[dict[str, str]]:
        """The operators as text."""
        return [
            {
                "operator": one["operator"],
                "calls": f"{one['calls']:g}",
                "time (ms)": f"{one['ms']:.3g}",
                "share": f"{100 * one['share']:.1f} %",
            }
            for one in self.operators
        ]


def profile_cells(options: LatencyOptions, folder: Path, *, progress: Progress | None = None) -> Iterator[Profile]:
    """Profile what `options` would measure, a subject at a time; `auto` batches are left out.

    Args:
        options: What to profile.
        folder: Gets `<name>/<settings>-<res>.trace.json` and a Markdown table beside each.
        progress: Called at every step.

    Raises:
        UsageError: The device is not there, or all batches are `auto`.
        StoreError: The folder cannot be written.
    """
    cells = [cell for cell in planned_cells(options) if cell.params["batch"] != AUTO]
    if not cells:
        raise UsageError(f"a profile needs a batch; give numbers beside or in place of {AUTO}, for example --batch 1,8")
    for device in {cell.params["device"] for cell in cells}:
        check_device(device)
    done = 0
    for subject in subjects_of(cells, options.timing):
        try:
            for side in sorted(subject.cells):
                if progress is not None:
                    progress(Event(done, len(cells), f"{subject.label} at {side}: profile"))
                yield _profile(subject, side, folder)
                done += 1
        finally:
            subject.kill()


def _profile(subject: Subject, side: int, folder: Path) -> Profile:
    cell = subject.cells[side]
    title = f"{subject.label} at {side}"
    stem = f"{'-'.join(_words(subject.label))}-{cell.key[:6]}-{side}"
    path = (folder / folder_name(cell.backbone) / f"{stem}.trace.json").absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        subject.build()
        answer = subject.ask("profile", resolution=side, path=str(path), calls=_CALLS)
        profile = Profile(title, str(path), answer["operators"])
        write_atomic(path.with_name(f"{stem}.md"), _markdown(profile).encode(), overwrite=True)
    except SubjectError as error:
        return Profile(title, error=error.failure.error)
    except OSError as error:
        raise StoreError(f"cannot write {path.parent}: {error.strerror}; give a writable --results folder") from error
    return profile


def _words(label: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in label).split()


def _markdown(profile: Profile) -> str:
    lines = [f"# {profile.title}", "", "| operator | calls | time (ms) | share |", "|---|--:|--:|--:|"]
    lines += ["| " + " | ".join(one.values()) + " |" for one in profile.shown()]
    return "\n".join(lines) + "\n"
