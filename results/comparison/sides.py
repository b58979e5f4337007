"""The two sides of `bench compare`: results folders, commits that rows were measured at, or subjects of one store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ..schema import Row
from ..series import newest
from ..store import Store

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class Sides(NamedTuple):
    """Two sets of rows, newest of each cell and device, and a line for each file that was left out."""

    first: list[Row]
    second: list[Row]
    problems: list[str]


def find_sides(store: Store, first: str, second: str) -> Sides | None:
    """The rows of two results folders, or those of `store` that two commits of LinBench measured.

    Args:
        store: Where the rows of commits are.
        first: A folder with `runs/` in it, or seven or more digits of a commit that rows name.
        second: Likewise.

    Returns:
        None where both name neither, but subjects.

    Raises:
        UsageError: The two are of different kinds.
    """
    folders = [(Path(text) / "runs").is_dir() for text in (first, second)]
    if all(folders):
        scans = [Store(text).scan() for text in (first, second)]
        return Sides(newest(scans[0].rows), newest(scans[1].rows), [*scans[0].problems, *scans[1].problems])
    if any(folders):
        folder, other = (first, second) if folders[0] else (second, first)
        raise UsageError(f"'{folder}' is a results folder and '{other}' is none (no runs/ in it); give two of a kind")
    commits = [_COMMIT.fullmatch(text) is not None for text in (first, second)]
    if not any(commits):
        return None
    if not all(commits):
        commit, other = (first, second) if commits[0] else (second, first)
        raise UsageError(
            f"'{commit}' is a commit and '{other}' is none (seven or more hexadecimal digits); give two of a kind: "
            "commits, results folders, or backbones and systems"
        )
    rows, problems = store.scan()
    before, after = (_of_commit(rows, text) for text in (first, second))
    if not before or not after:
        empty = second if before else first
        raise UsageError(f"no rows of commit '{empty}' in {store.root}; those there are of {_commits(rows)}")
    return Sides(before, after, problems)


def _of_commit(rows: Sequence[Row], commit: str) -> list[Row]:
    return newest(row for row in rows if str(_commit(row)).startswith(commit))


def _commit(row: Row) -> str | None:
    found: str | None = (row.provenance.get("linbench") or {}).get("commit")
    return found


def _commits(rows: Sequence[Row]) -> str:
    return ", ".join(sorted({commit[:12] for row in rows if (commit := _commit(row))})) or "no known commit"
