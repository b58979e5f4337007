"""Synthetic rows that the tests of `results` share, and how to read a figure drawn of them."""

import xml.etree.ElementTree as ET

from linbench.results.schema import Cell, Row

CPU = "Testor CPU 2000"
WHY = "it serves cuda tensors, got cpu"
FINGERPRINTS = {"DIS": "a" * 64, "COIFT": "b" * 64, "HRSOD": "c" * 64}


def on(device=CPU):
    return {"device": {"type": "cpu", "name": device}}


def latency_row(backbone, res, ms=None, *, status="ok", device=CPU, **params):
    given = {"res": res, "batch": 1, "dtype": "float32", "device": "cpu", "threads": 2, "stage": "backbone"}
    metrics = {}
    if ms is not None:
        metrics = {"latency_ms": ms, "latency_ms_low": 0.98 * ms, "latency_ms_high": 1.03 * ms}
        metrics |= {
            "tokens": (res // 16) ** 2,
            "peak_memory_mib": 300 + res,
            "weights_mib": 80.0,
            "gflops_per_s": 120.0,
        }
        metrics |= {"matmul_gflops_per_s": 160.0, "activations_mib": res / 4}
    error = None if ms is not None else "CUDA out of memory. Tried to allocate 9 GiB"
    return Row(Cell("latency", backbone, given | params), status, metrics, {}, on(device), error)


def hq_row(backbone, scores=None, *, status="ok", device=CPU, samples=None, **params):
    """`scores`: {data set: (miou, mbiou)}."""
    given = {"data": "demo", "dataset_fingerprints": FINGERPRINTS, "datasets": list(FINGERPRINTS)}
    given |= {"protocol": "rwkvsam", "frame": 512}
    metrics = {}
    if scores:
        for name, (miou, mbiou) in scores.items():
            metrics |= {f"{name}/miou": miou, f"{name}/mbiou": mbiou}
        metrics["miou"] = sum(miou for miou, _ in scores.values()) / len(scores)
        metrics["mbiou"] = sum(mbiou for _, mbiou in scores.values()) / len(scores)
        metrics |= {"params_backbone": 19_727_296, "params_total": 24_474_000}
    error = None if scores else "it broke"
    return Row(Cell("sam-hq", backbone, given | params), status, metrics, samples or {}, on(device), error)


def three(miou, mbiou):
    return dict.fromkeys(FINGERPRINTS, (miou, mbiou))


def kernel_row(backend, ms=None, *, operator="bi_wkv", status="ok", error=None, device=CPU, rms=1e-6, **params):
    given = {"case": "rwkvsam-s 1024", "shape": "B=1,T=4096,C=192", "backend": backend, "dtype": "fp32"}
    given |= {"direction": "forward", "device": "cpu", "threads": 2, "launch": "eager", "cache": "warm", "seed": 0}
    metrics = {} if status == "unsupported" else {"error_rms": rms}
    if ms is not None:
        metrics |= {"time_ms": ms, "time_ms_low": 0.98 * ms, "time_ms_high": 1.02 * ms, "first_call_ms": 1500.0}
        metrics |= {"bytes": 10**7, "flops": 10**8, "exps": 10**6, "gb_per_s": 10 / ms, "gflops_per_s": 100 / ms}
        metrics |= {"bound_ms": 1.0, "roofline_fraction": 1.0 / ms, "copy_gb_per_s": 10.0, "large_copy_gb_per_s": 9.0}
        metrics |= {"matrix_gflops_per_s": 200.0, "peak_gexps_per_s": 5.0}
    return Row(Cell("kernels", operator, given | params), status, metrics, {}, on(device), error)


def kernel_rows():
    return [
        kernel_row("torch", 40.0),
        kernel_row("cpu", 4.0),
        kernel_row("near", 4.02),
        kernel_row("broken", status="wrong", rms=0.5, error="output differs"),
        kernel_row("triton", status="unsupported", error=WHY),
    ]


def texts(path):
    """What an SVG with outlined text says: matplotlib leaves each string as a comment beside its outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    tree = ET.parse(path, parser)
    return " ".join(node.text for node in tree.iter() if node.tag is ET.Comment)
