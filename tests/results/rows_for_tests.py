"""Synthetic rows that the tests of `results` share."""

from linbench.results.schema import Cell, Row

CPU = "Testor CPU 2000"
FINGERPRINTS = {"DIS": "a" * 64, "COIFT": "b" * 64, "HRSOD": "c" * 64}


def on(device=CPU):
    return {"device": {"type": "cpu", "name": device}}


def latency_row(backbone, res, ms=None, *, status="ok", device=CPU, **params):
    given = {"res": res, "batch": 1, "dtype": "float32", "device": "cpu", "threads": 2, "stage": "backbone"}
    metrics = {}
    if ms is not None:
        metrics = {"latency_ms": ms, "latency_ms_low": 0.98 * ms, "latency_ms_high": 1.03 * ms}
        metrics |= {"tokens": (res // 16) ** 2, "peak_memory_mib": 300 + res, "gflops_per_s": 120.0}
        metrics |= {"matmul_gflops_per_s": 160.0}
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
