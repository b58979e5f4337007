"""The Python packages that LinBench needs: there, new enough, fitting each other, and working."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..inventory import Records
from .findings import Fault
from .probes import try_codes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ROOT = Path(__file__).resolve().parents[2]
_MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL"}
_TRIALS = {
    "torch": "import torch; torch.ones(2).sum()",
    "torchvision": "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)",
    "numba": "import numba; assert numba.njit(lambda x: x + 1)(1) == 2",
    "pycocotools": "import pycocotools.mask",
}
# Before those that are built on them, so that the first one that fails is the one to mend.
_FIRST = ("numpy", "torch", "torchvision")
_MENDS = {
    "torch": "pip install --force-reinstall torch torchvision",
    "torchvision": "pip install --force-reinstall torch torchvision",
    "numba": "pip install --upgrade numba numpy",
    "opencv-python-headless": "pip uninstall -y opencv-python opencv-contrib-python && "
    "pip install --force-reinstall opencv-python-headless",
}
_OPTIONAL = {
    "triton": "the Triton kernels on GPUs",
    "mamba-ssm": "its own CUDA selective scan",
    "causal-conv1d": "its own CUDA convolution",
    "nvidia-ml-py": "clocks and temperature of GPUs in `bench latency`",
    "pyarrow": "`bench results export rows.parquet`",
    "tensorboard": "training curves in TensorBoard",
}
_KERNELS = """
import importlib, pathlib, linbench.kernels as kernels
for file in sorted(pathlib.Path(kernels.__file__).parent.glob("*/cpu*.py")):
    importlib.import_module(f"linbench.kernels.{file.parent.name}.{file.stem}")
"""


def requirements() -> list[Requirement]:
    """What `pyproject.toml` asks for on this machine, the packages that others are built on first."""
    file = _ROOT / "pyproject.toml"
    if file.is_file():
        texts = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        texts = importlib.metadata.requires("linbench") or []
    found = [Requirement(text) for text in texts]
    here = [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]
    return sorted(here, key=lambda r: _FIRST.index(r.name) if r.name in _FIRST else len(_FIRST))


def check_packages() -> tuple[Records, list[Fault]]:
    """A record for each package, and a fault for each that is missing, too old or does not work."""
    needed = requirements()
    codes = {r.name: _TRIALS.get(r.name, f"import {_MODULES.get(r.name, r.name.replace('-', '_'))}") for r in needed}
    said = try_codes(codes)
    records: Records = [{"package": "python", "version": platform.python_version(), "wanted": "", "state": "works"}]
    faults: list[Fault] = []
    for requirement in needed:
        record = _examined(requirement, said[requirement.name])
        records.append(record)
        # What is built on a package that fails need not be mended itself.
        blamed = {name for name in _built_on(requirement.name) if said.get(name)}
        if record["mend"] and not blamed:
            faults.append(Fault(f"{requirement.name}: {record['state']}", f"`{record['mend']}`"))
    records += [_optional(name) for name in _OPTIONAL]
    return records, faults


def check_kernels() -> list[Fault]:
    """A fault where the CPU kernels cannot be loaded, for example since no folder takes their machine code."""
    said = try_codes({"kernels": _KERNELS})["kernels"]
    if not said:
        return []
    mend = "set LINBENCH_CACHE to a folder that can be written" if "locator" in said else "`pip install -U numba numpy`"
    return [Fault(f"the compiled CPU kernels cannot be loaded ({said})", mend)]


def _examined(requirement: Requirement, said: str) -> dict[str, str]:
    version = _version(requirement.name)
    wanted = str(requirement.specifier)
    mend = ""
    if said and version == "" and "No module named" in said:
        state, mend = "not installed", f"pip install '{requirement.name}{wanted}'"
    elif said:
        state, mend = said, _MENDS.get(requirement.name, f"pip install --force-reinstall '{requirement.name}{wanted}'")
    elif version and not requirement.specifier.contains(version, prereleases=True):
        state = f"version {version} is too old, expected {wanted}"
        mend = f"pip install --upgrade '{requirement.name}{wanted}'"
    else:
        clashes = _clashes(requirement.name)
        state = f"works, but it asks for {', '.join(clashes)}" if clashes else "works"
    return {"package": requirement.name, "version": version, "wanted": wanted, "state": state, "mend": mend}


def _optional(name: str) -> dict[str, str]:
    version = _version(name)
    state = f"{'there' if version else 'not installed'}; for {_OPTIONAL[name]}"
    return {"package": name, "version": version, "wanted": "optional", "state": state}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _needs(package: str) -> list[Requirement]:
    try:
        needs = [Requirement(text) for text in importlib.metadata.requires(package) or []]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [r for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]


def _built_on(package: str) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in _needs(package)}


def _clashes(package: str) -> list[str]:
    """Requirements of an installed package that are not met by what is installed."""
    found = [(need, _version(need.name)) for need in _needs(package)]
    return [str(need) for need, version in found if version and not need.specifier.contains(version, prereleases=True)]
