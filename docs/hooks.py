"""What is generated when the documentation is built: the command reference, stored tables and figures, CONTRIBUTING."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the figures to the site's files."""
    pages = {"commands.md": command_reference(), "contributing.md": (ROOT / "CONTRIBUTING.md").read_text("utf-8")}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for figure in sorted((ROOT / "results" / "figures").glob("figure*.png")):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


def command_reference() -> str:
    """Every command with its options, as typer describes them."""
    command = [sys.executable, "-m", "typer", "linbench.cli", "utils", "docs", "--name", "bench", "--title", "Commands"]
    done = subprocess.run(command, cwd=ROOT.anchor, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the command reference cannot be made: {done.stderr.strip()[-500:]}")
    return done.stdout
