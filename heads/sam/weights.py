"""Weights of SAM systems by name: LinBench's own demo weights, official ones, or a checkpoint's path."""

from __future__ import annotations

from pathlib import Path

from ...backbones.weight_files import resolve_weights
from ...errors import UsageError

DEMO = "demo"
DEMO_SYSTEM = "rwkvsam-t"
DEMO_FOLDER = Path(__file__).parent / "demo_weights"


def demo_systems() -> list[str]:
    """Systems that LinBench ships demo weights for."""
    return sorted(path.stem for path in DEMO_FOLDER.glob("*.safetensors"))


def weights_path(system: str, weights: str) -> Path:
    """The file that `weights` means for a system.

    Args:
        system: Name of the system.
        weights: `demo` for the weights in this package (their model card lies beside them), `official` or
            `official:<tag>` for an official checkpoint (downloaded where it is not here), or a path.

    Raises:
        UsageError: There are no demo weights, or no official ones, for this system.
        WeightsError: The official weights cannot be downloaded.
    """
    if weights != DEMO:
        return resolve_weights(system, weights)
    path = DEMO_FOLDER / f"{system}.safetensors"
    if not path.is_file():
        known = ", ".join(demo_systems()) or "none"
        raise UsageError(
            f"no demo weights for '{system}' (there are: {known}); give the path of a checkpoint, "
            "or train the system with `bench run sam-hq`"
        )
    return path
