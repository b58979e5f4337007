"""Pieces of code tried in another process, so that an import that kills Python or hangs stops nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

TIMEOUT_S = 300.0
_MARK = "linbench-probe "
# An empty entry is the working directory, whose files may shadow modules.
_SCRIPT = """
import json, sys
sys.path[:] = [folder for folder in sys.path if folder]
for name, code in json.loads(sys.stdin.read()).items():
    print("linbench-probe", json.dumps([name, None]), flush=True)
    try:
        exec(code, {})
        said = ""
    except BaseException as error:
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    print("linbench-probe", json.dumps([name, said]), flush=True)
"""


def try_codes(codes: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Run each code, in order, in a process of its own kind; a code that ends the process costs the others nothing.

    Args:
        codes: Python code by name.
        timeout_s: Time that those left may take together.

    Returns:
        By name: empty where the code ran, else what went wrong, in one line.
    """
    said: dict[str, str] = {}
    while len(said) < len(codes):
        left = {name: code for name, code in codes.items() if name not in said}
        output, end = _run(left, timeout_s)
        begun = ""
        for line in output.splitlines():
            if line.startswith(_MARK):
                begun, result = json.loads(line.removeprefix(_MARK))
                if result is not None:
                    said[begun] = result
        if len(said) < len(codes):
            said[begun if begun not in {"", *said} else next(n for n in codes if n not in said)] = end
    return said


def _run(codes: Mapping[str, str], timeout_s: float) -> tuple[str, str]:
    """What the process printed, and how it ended, in words."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            input=json.dumps(dict(codes)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return output.decode(errors="replace") if isinstance(output, bytes) else output, f"hangs ({timeout_s:g} s)"
    except OSError as error:
        return "", f"no process can be started: {error.strerror}"
    code = done.returncode
    return done.stdout, f"kills Python (signal {-code})" if code < 0 else f"ends Python (exit code {code})"
