"""Fetching one file: over HTTP with resume, or from the Hugging Face hub. What arrives is whole, or not there."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import WeightsError

Advance = Callable[[int, int | None], None]

BLOCK = 1 << 20
ATTEMPTS = 5
TIMEOUT_S = 30.0
WAIT_S = 1.0
_PART, _NOT_IN_FILE = 206, 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
WEB_PAGE = "{} gives a web page instead of the file; open it in a browser to see why"
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")


class _BrokeOffError(Exception):
    """The connection ended before the file did."""


def offline() -> str:
    """The environment variable that forbids downloads (`LINBENCH_OFFLINE` or `HF_HUB_OFFLINE`); empty where none."""
    truths = {"1", "on", "yes", "true"}
    return next((v for v in ("LINBENCH_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(v, "").lower() in truths), "")


def looks_like_markup(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page (or an error in XML) instead of data."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP)


def fetch_url(url: str, target: Path, *, size: int | None = None, advance: Advance | None = None) -> None:
    """Download `url` to the file `target`, going on from what an earlier call left there.

    What has arrived stays in `target` when this fails, so that the next call goes on from it.

    Args:
        url: Address.
        target: File to fill; its validator lies beside it while it is not whole.
        size: Length in bytes that it must have, where that is known.
        advance: Told the bytes that are there, and how many there will be.

    Raises:
        WeightsError: Not found, not reachable, a web page, of another length, or broken off too often.
    """
    if size is not None and _length(target) == size:
        return
    best, failures = _length(target), 0
    while True:
        try:
            return _fetch_once(url, target, size, advance)
        except _BrokeOffError as error:
            broken: Exception = error
        except urllib.error.HTTPError as error:
            error.close()
            # What the server may mend by itself is asked for again, what it refuses is not.
            if error.code not in (408, 425, 429) and error.code < 500:
                raise WeightsError(f"{url} cannot be downloaded: HTTP {error.code} {error.reason}") from error
            broken = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            broken = error
        here = _length(target)
        best, failures = max(best, here), 0 if here > best else failures + 1
        if failures == ATTEMPTS:
            raise WeightsError(
                f"{url} could not be downloaded ({getattr(broken, 'reason', None) or broken}); {here:,} bytes are "
                "here, and the same command goes on from there"
            ) from broken
        if failures:
            time.sleep(WAIT_S * 2 ** (failures - 1))


def fetch_hub(repo: str, file: str, revision: str, folder: Path) -> str:
    """Download a file of a Hugging Face repository into `folder`, with resume, through `huggingface_hub`.

    Returns:
        The SHA-256 that the hub states for the file; empty where it states none (small files).

    Raises:
        WeightsError: Not found or not reachable.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        url = hf_hub_url(repo, file, revision=revision, endpoint=endpoint)
        stated = get_hf_file_metadata(url)
        hf_hub_download(
            repo,
            file,
            revision=stated.commit_hash or revision,
            local_dir=folder,
            endpoint=endpoint,
            etag_timeout=TIMEOUT_S,
        )
    # The hub's errors are those of whichever HTTP library its version uses.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(f"{repo}/{file} could not be downloaded from the Hugging Face hub ({reason})") from error
    etag = stated.etag or ""
    return etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""


@contextlib.contextmanager
def progress_bar(text: str) -> Iterator[Advance]:
    """A bar on standard error, for a person at a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns: tuple[Any, ...] = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _fetch_once(url: str, target: Path, size: int | None, advance: Advance | None) -> None:
    here = _length(target)
    validator = target.with_name(target.name + ".tag")
    headers = {"User-Agent": "linbench", "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
        if validator.is_file():
            headers["If-Range"] = validator.read_text(encoding="utf-8")
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != _NOT_IN_FILE or not here:
            raise
        error.close()
        # Nothing is left to send: the file is whole, or what lies here is not its beginning.
        if here == (size or _length_stated(error.headers.get("Content-Range"))):
            return
        target.unlink()
        raise _BrokeOffError("what was here was not the beginning of the file") from error
    with response:
        if "html" in response.headers.get_content_type():
            raise WeightsError(WEB_PAGE.format(url))
        start, total = _extent(response, here)
        if size is not None and total is not None and total != size:
            raise WeightsError(f"{url} has {total:,} bytes, expected {size:,}; the file there is another one")
        _note_validator(validator, response)
        mode = "ab" if start else "wb"
        with target.open(mode) as file:
            done = start
            while block := _read(response):
                if not done and looks_like_markup(block):
                    raise WeightsError(WEB_PAGE.format(url))
                file.write(block)
                done += len(block)
                if advance is not None:
                    advance(done, total or size)
            file.flush()
            os.fsync(file.fileno())
    expected = total if total is not None else size
    if expected is not None and done < expected:
        raise _BrokeOffError(f"it broke off after {done:,} of {expected:,} bytes")
    if expected is not None and done > expected:
        target.unlink()
        raise WeightsError(f"{url} gave {done:,} bytes, expected {expected:,}; the file there is another one")
    validator.unlink(missing_ok=True)


def _read(response: Any) -> bytes:
    try:
        block: bytes = response.read(BLOCK)
    except (http.client.HTTPException, OSError) as error:
        raise _BrokeOffError(f"it broke off: {error}") from error
    return block


def _extent(response: Any, here: int) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the whole file is."""
    length = response.headers.get("Content-Length")
    if response.status == _PART:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != here:
            raise WeightsError("the server sent another part of the file than was asked for; try again later")
        return here, None if found[3] == "*" else int(found[3])
    return 0, int(length) if length and length.isdecimal() else None


def _length_stated(content_range: str | None) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(found[1]) if found else None


def _note_validator(path: Path, response: Any) -> None:
    # A weak tag says nothing of single bytes.
    tag = response.headers.get("ETag") or ""
    value = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    if value:
        path.write_text(value, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def free_space(folder: Path) -> int:
    """Bytes that are free where `folder` is or will be."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
