"""Puts the page together: markup, style, scripts and data in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ..files import write_atomic
from ..reporting.guard import build_without_faulty
from ..schema import Row
from ..tabling.tables import Table
from .data import page_data
from .pictures import compared_pictures, gallery_sheets
from .places import Places

PAGE_NAME = "report.html"
_HERE = Path(__file__).parent
# The order in which they are run: what others use comes first.
_SCRIPTS = ["dom", "provenance", "grid", "tables", "rows", "plot", "latency", "tradeoff", "overlay", "gallery", "main"]


def write_page(rows: Sequence[Row], tables: Sequence[Table], out_dir: Path, *, problems: Sequence[str] = ()) -> Path:
    """Write `report.html` into `out_dir`: one file that works without a network.

    Equal rows, tables, pictures under `out_dir` and versions of LinBench and Bokeh give equal bytes.
    Pictures of demo data are put into the page (up to 4 MiB of either kind); all others are linked from `tiles/` and
    `figures/` beside it.

    Args:
        rows: The newest rows.
        tables: Made of these very row objects.
        out_dir: Folder of the page.
        problems: What was left out, a line each; the page says so.

    Raises:
        StoreError: `out_dir` cannot be written.
    """
    compare = partial(compared_pictures, places=Places(rows), out_dir=out_dir)
    pictures, faults = build_without_faulty(compare, rows, "the gallery")
    data = page_data(rows, tables, [*problems, *faults])
    data |= {"pictures": pictures, "gallery": gallery_sheets(out_dir)}
    path = out_dir / PAGE_NAME
    try:
        write_atomic(path, render_page(data).encode(), overwrite=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; give a writable folder") from error
    return path


def render_page(data: Mapping[str, Any]) -> str:
    """The page's text around `data`, which may hold any text at all: none of it is read as markup or run."""
    from bokeh import __version__ as bokeh_version

    from ... import __version__

    libraries = _libraries()
    script = f"(() => {{\n'use strict';\n{''.join(_read(f'js/{name}.js') for name in _SCRIPTS)}}})();"
    parts = {
        "policy": escape(_policy([*libraries, script])),
        "style": _read("page.css"),
        "version": escape(__version__),
        "bokeh": escape(bokeh_version),
        "data": script_safe_json(data),
        "libraries": "\n".join(f"<script>{library}</script>" for library in libraries),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found.group(1)], _read("page.html"))


def script_safe_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _libraries() -> list[str]:
    from bokeh.util.paths import bokehjs_path

    folder = bokehjs_path() / "js"
    return [(folder / name).read_text(encoding="utf-8") for name in ("bokeh.min.js", "bokeh-api.min.js")]


def _policy(scripts: Sequence[str]) -> str:
    """Only these scripts run, and nothing is fetched but pictures beside the page: whatever a row's text says."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src 'self' data: blob: file:; "
        "base-uri 'none'; form-action 'none'"
    )
