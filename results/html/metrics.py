"""Names of metrics as readers see them, with units."""

from __future__ import annotations

from ..words import METRIC_WORDS

_NAMES = {"n": "samples", "macs": "MACs"}
_UNITS = {
    "_images_per_s": "images/s",
    "_gflops_per_s": "GFLOP/s",
    "_gexps_per_s": "Gexp/s",
    "_gb_per_s": "GB/s",
    "_per_s": "1/s",
    "_ms": "ms",
    "_mib": "MiB",
    "_seconds": "s",
}
_WHOLE = {"images_per_s": "throughput (images/s)", "gflops_per_s": "arithmetic rate (GFLOP/s)"}
_WHOLE |= {"gb_per_s": "traffic (GB/s)", "gexps_per_s": "exponentials (Gexp/s)"}
_WHOLE |= {"params_backbone": "parameters of the backbone", "params_total": "parameters of the system"}
_ENDS = {"_low": ", 95 % low", "_high": ", 95 % high"}


def metric_label(name: str) -> str:
    """`latency_ms` becomes `latency (ms)`, `DIS/miou` becomes `DIS mIoU (%)`."""
    place, _, last = name.rpartition("/")
    for end, words in _ENDS.items():
        if last.endswith(end):
            return metric_label(name.removesuffix(end)) + words
    if last in _WHOLE:
        text = _WHOLE[last]
    elif last in METRIC_WORDS:
        text = f"{METRIC_WORDS[last]} (%)"
    else:
        unit = next((unit for unit in _UNITS if last.endswith(unit)), "")
        text = _NAMES.get(last, last.removesuffix(unit).replace("_", " ")) + (f" ({_UNITS[unit]})" if unit else "")
    return f"{place} {text}" if place else text
