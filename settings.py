"""Where data, results and caches live: command-line option, environment variable, `linbench.toml`, default."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from .errors import StoreError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_FILE = Path("linbench.toml")
KEYS = ("data", "results", "cache")


def data_root(option: Path | None = None) -> Path | None:
    """Folder that holds the real data sets, or None where none is set: then the demo data is used."""
    return _setting("data", option)


def results_root(option: Path | None = None) -> Path:
    """Folder of `runs/`, `tables/` and `figures/`; `results` in the working directory by default."""
    return _setting("results", option) or Path("results")


def cache_root(option: Path | None = None) -> Path:
    """Folder for drawn demo data, downloads and training checkpoints; `~/.cache/linbench` by default."""
    found = _setting("cache", option)
    if found is not None:
        return found
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "linbench"
    except RuntimeError as error:
        raise UsageError("this user has no home folder; set LINBENCH_CACHE to a folder that can be written") from error


def installation(option: Path | None = None) -> str:
    """The name of this installation: random, made once and kept in the cache folder (`option`: that folder).

    Raises:
        StoreError: The cache folder cannot be written.
    """
    path = cache_root(option) / "installation"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secrets.token_hex(8), encoding="ascii")
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise StoreError(
            f"cannot write the cache folder {path.parent}: {error.strerror}; set LINBENCH_CACHE to one that can be"
        ) from error


def _setting(key: str, option: Path | None) -> Path | None:
    if option is not None:
        return option.expanduser()
    from_environment = os.environ.get(f"LINBENCH_{key.upper()}")
    if from_environment:
        return Path(from_environment).expanduser()
    from_file = _config().get(key)
    return Path(from_file).expanduser() if from_file else None


def _config() -> dict[str, str]:
    if not CONFIG_FILE.is_file():
        return {}
    try:
        data = tomllib.loads(CONFIG_FILE.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{CONFIG_FILE} is no valid TOML: {error}") from error
    for key, value in data.items():
        if key not in KEYS or not isinstance(value, str):
            keys = ", ".join(KEYS)
            raise UsageError(f"{CONFIG_FILE} has {key} = {value!r}; expected the keys {keys} with folder names")
    return data
