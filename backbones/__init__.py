"""Backbones by name: a lazy typed registry, one file per family, official weights."""

from .registry import backbone_options, backbone_spec, create_backbone, list_backbones
from .spec import BackboneSpec

__all__ = ["BackboneSpec", "backbone_options", "backbone_spec", "create_backbone", "list_backbones"]
