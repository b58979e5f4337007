"""Latency and throughput of models over resolution: the protocol BLP-1."""

from .options import LatencyOptions, parse_batches
from .resolutions import parse_resolutions
from .suite import SUITE, LatencySuite, check_device

__all__ = ["SUITE", "LatencyOptions", "LatencySuite", "check_device", "parse_batches", "parse_resolutions"]
