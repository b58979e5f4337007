"""The registry of backbones: names to specs, specs to modules. Importing it does not import torch."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .spec import BackboneSpec

if TYPE_CHECKING:
    from .base import Backbone

RWKVSAM_SOURCE = "arXiv 2406.19369; HarborYuan/ovsam, projects/rwkvsam"
RWKVSAM_DIMS = {"t": (32, 64, 192), "s": (64, 128, 384), "b": (128, 256, 768)}


def _rwkvsam(name: str, params: int, *, dims: tuple[int, int, int], **kwargs: Any) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="rwkvsam",
        mixer="bi-wkv",
        builder="rwkvsam:RwkvSam",
        kwargs={"dims": dims, **kwargs},
        params={"backbone": params},
        source=RWKVSAM_SOURCE,
        operators=("bi_wkv", "q_shift_mix"),
        image_multiple=32 if kwargs.get("final_stage") else 16,
    )


def _vit(name: str, params: int, *, dim: int, heads: int) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vit",
        mixer="softmax",
        builder="vit:Vit",
        kwargs={"dim": dim, "heads": heads},
        params={"backbone": params, "with_head": params + 1000 * dim + 1000},
        source="arXiv 2012.12877 (DeiT)",
    )


_SPECS = (
    *(_rwkvsam(f"rwkvsam-{s}", n, dims=RWKVSAM_DIMS[s]) for s, n in (("t", 4957664), ("s", 19727296), ("b", 78702464))),
    *(
        _rwkvsam(f"rwkvsam-s-{i}-{i}", n, dims=RWKVSAM_DIMS["s"], early_blocks=(i, i))
        for i, n in ((1, 17249920), (2, 14772544), (3, 12295168))
    ),
    *(
        _rwkvsam(f"rwkvsam-{s}-ade", n, dims=RWKVSAM_DIMS[s], final_stage=True)
        for s, n in (("t", 5934176), ("s", 23597248), ("b", 94110080))
    ),
    _vit("vit-t", 5524416, dim=192, heads=3),
    _vit("vit-s", 21665664, dim=384, heads=6),
    _vit("vit-b", 85798656, dim=768, heads=12),
)


def collect_specs(specs: Iterable[BackboneSpec]) -> dict[str, BackboneSpec]:
    """Specs by name.

    Raises:
        ValueError: Two specs have one name; both builders are named.
    """
    found: dict[str, BackboneSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise ValueError(f"two backbones are called '{spec.name}': {found[spec.name].builder} and {spec.builder}")
        found[spec.name] = spec
    return found


SPECS: Mapping[str, BackboneSpec] = collect_specs(_SPECS)


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the registered backbones that match a shell pattern; `timm:<name>` works besides for any timm model."""
    return [name for name in SPECS if fnmatch.fnmatch(name, pattern)]


def backbone_spec(name: str) -> BackboneSpec:
    """The description of one backbone.

    Raises:
        UsageError: No such name; the message suggests near ones.
    """
    if name.startswith("timm:") and len(name) > len("timm:"):
        from .timm_models import check_name  # timm is slow to import

        check_name(name.removeprefix("timm:"))
        return BackboneSpec(
            name=name,
            family="timm",
            mixer="as timm",
            builder="timm_models:TimmBackbone",
            kwargs={"model": name.removeprefix("timm:")},
            source="timm",
            image_multiple=32,
        )
    if name in SPECS:
        return SPECS[name]
    close = difflib.get_close_matches(name, [*SPECS], n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise UsageError(
        f"unknown backbone '{name}'.{hint} `bench list backbones` shows all; timm models are 'timm:<name>'."
    )


def backbone_options(name: str) -> frozenset[str]:
    """Names of the overrides that `create_backbone(name, ...)` takes; a timm model takes more than are named here.

    Raises:
        UsageError: Unknown name.
    """
    parameters = inspect.signature(_builder(backbone_spec(name))).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def create_backbone(name: str, *, weights: str | None = None, kernels: str = "auto", **overrides: Any) -> Backbone:
    """Build a backbone.

    Args:
        name: Registry name, or `timm:<name>`.
        weights: None for random initialisation, or the path of a checkpoint of this backbone.
        kernels: Backend of LinBench's operators in it: `auto`, or one that `bench list kernels` shows.
        overrides: Arguments of the family's class, for example `attention="eager"` or `drop_path=0.1`.

    Returns:
        The module in training mode: `Features(maps, pooled) = backbone(images)`.

    Raises:
        UsageError: Unknown name or option.
        WeightsError: The checkpoint is missing, unsafe, damaged or of another model.
    """
    spec = backbone_spec(name)
    kwargs = {**spec.kwargs, **overrides}
    if spec.operators:
        kwargs["kernels"] = kernels
    elif kernels != "auto":
        raise UsageError(
            f"'{name}' calls none of LinBench's operators, so kernels='{kernels}' cannot apply; leave it out"
        )
    try:
        backbone: Backbone = _builder(spec)(**kwargs)
    except TypeError as error:
        raise UsageError(f"cannot build '{name}' with {overrides or 'its defaults'}: {error}") from error
    if weights is not None:
        from .official import load_official
        from .weights import read_checkpoint

        load_official(backbone, read_checkpoint(weights))
    return backbone


def _builder(spec: BackboneSpec) -> Callable[..., Backbone]:
    module, _, attribute = spec.builder.partition(":")
    builder: Callable[..., Backbone] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return builder
