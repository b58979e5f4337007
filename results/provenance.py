"""Where a row comes from: versions, commit, machine and flags. Nothing in it names a person, a host or a folder."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from .schema import Row

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "numba",
    "triton",
    "opencv-python-headless",
    "pycocotools",
    "faster-coco-eval",
    "accelerate",
    "safetensors",
    "mamba-ssm",
    "causal-conv1d",
    "flash-linear-attention",
)
ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_PROC_BIND",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TRITON_INTERPRET",
)
_OUTPUTS = tuple(f":(exclude)results/{name}" for name in ("runs", "tables", "figures", "tiles"))


def collect(device: str = "cpu") -> dict[str, Any]:
    """Describe this process for a row's `provenance`.

    Args:
        device: The torch device the measurement ran on, `"cpu"` or `"cuda[:index]"`; `device` in the result names it
            as tables do ("Intel Xeon ...", "NVIDIA A100-SXM4-40GB").

    Returns:
        JSON values only. What cannot be found out is null, with the reason beside it.
    """
    from .. import __version__

    cpu, gpus = _cpu(), _gpus()
    return {
        "linbench": {"version": __version__, **_commit(Path(__file__).resolve().parents[1])},
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "device": {"type": device.partition(":")[0], "name": _device_name(device, cpu, gpus)},
        "cpu": cpu,
        "gpus": gpus,
        "torch": _torch_flags(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def device_name(row: Row) -> str:
    """The device a row was measured on, as `collect` named it; tables never mix two of them."""
    return str(row.provenance.get("device", {}).get("name") or row.cell.params.get("device") or "unknown device")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> dict[str, Any]:
    unknown = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return {**unknown, "reason": "installed, not a git checkout"}
    head, reason = _run("git", "-C", str(root), "rev-parse", "HEAD")
    if head is None:
        return {**unknown, "reason": f"git rev-parse: {reason}"}
    changes, reason = _run("git", "-C", str(root), "status", "--porcelain", "--", ".", *_OUTPUTS)
    if changes is None:
        return {"commit": head, "dirty": None, "reason": f"git status: {reason}"}
    return {"commit": head, "dirty": bool(changes)}


def _run(*command: str) -> tuple[str | None, str]:
    # Only the exit status is told on failure: a tool's own message may quote private paths.
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return None, f"{command[0]} is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, type(error).__name__
    return (done.stdout.strip(), "") if done.returncode == 0 else (None, f"exit status {done.returncode}")


def _cpu() -> dict[str, Any]:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "model": _cpu_model(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_usable": affinity,
        "quota_cores": _quota(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
    }


def _cpu_model() -> str | None:
    if sys.platform == "darwin":
        return _run("sysctl", "-n", "machdep.cpu.brand_string")[0]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    models = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return models[0] if models else platform.machine() or None


def _quota() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _gpus() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        reason = "torch is built without CUDA" if torch.version.cuda is None else "CUDA finds no device"
        return {"devices": [], "driver": None, "reason": reason}
    devices = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": facts.name,
                "capability": f"{facts.major}.{facts.minor}",
                "memory_mib": facts.total_memory // 2**20,
                "multiprocessors": facts.multi_processor_count,
            }
        )
    driver, reason = _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    found = {"devices": devices, "driver": driver.splitlines()[0] if driver else None}
    return found if driver else {**found, "reason": f"driver version: {reason}"}


def _device_name(device: str, cpu: dict[str, Any], gpus: dict[str, Any]) -> str:
    kind, _, index = device.partition(":")
    if kind == "cuda" and gpus["devices"]:
        return str(gpus["devices"][int(index or 0)]["name"])
    return str(cpu["model"] or "CPU of unknown model") if kind == "cpu" else device


def _torch_flags() -> dict[str, Any]:
    import torch

    backends = torch.backends
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": backends.cudnn.version() if torch.cuda.is_available() else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": backends.cpu.get_cpu_capability(),
        "mkldnn": backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "float32_matmul_precision": _legacy_flag(torch.get_float32_matmul_precision),
        "tf32_matmul": _legacy_flag(lambda: backends.cuda.matmul.allow_tf32),
        "tf32_cudnn": _legacy_flag(lambda: backends.cudnn.allow_tf32),
        "fp32_precision": {
            "cuda.matmul": getattr(backends.cuda.matmul, "fp32_precision", None),
            "cudnn.conv": getattr(getattr(backends.cudnn, "conv", None), "fp32_precision", None),
            "mkldnn.matmul": getattr(getattr(backends.mkldnn, "matmul", None), "fp32_precision", None),
        },
        "cudnn_benchmark": backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


def _legacy_flag(read: Callable[[], Any]) -> Any:
    # torch refuses to read its old precision flags once the new ones, stored under `fp32_precision`, were set
    try:
        return read()
    except RuntimeError:
        return None
