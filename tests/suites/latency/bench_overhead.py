"""What the harness itself costs, measured on a subject that only sleeps.

Not collected by default; run `pytest tests/suites/latency/bench_overhead.py -s`. Two shares of the time that a sweep's
blocks take: what the parent computes meanwhile, and what passes between a block's calls. The goal: below 1 % together.
"""

import sys
import time

from linbench.results.store import Store
from linbench.suites.latency import SUITE, LatencyOptions
from linbench.suites.runner.subject import Subject


def test_overhead(tmp_path, monkeypatch, odd_models):
    asked = []
    ask = Subject.ask

    def timed(self, operation, **arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = ask(self, operation, **arguments)
        asked.append((operation, wall, time.perf_counter(), cpu, time.process_time()))
        return answer

    monkeypatch.setattr(Subject, "ask", timed)
    options = LatencyOptions(
        backbones=("sleeping",), subject=odd_models, resolutions=(32,), threads=1, rounds=20, sentinel=False
    )
    (row,) = SUITE.run(options, store=Store(tmp_path))
    blocks = [entry for entry in asked if entry[0] == "block"]
    assert len(blocks) == row.metrics["rounds"] >= 20
    wall = blocks[-1][2] - blocks[0][1]
    computed = blocks[-1][4] - blocks[0][3]
    inside = sum(sum(block) for block in row.samples["latency_ms"]) / 1000
    told = f"parent: {100 * computed / wall:.3f} % of the time; between calls: {100 * (wall - inside) / wall:.3f} %"
    sys.stdout.write(f"\n{told}\n")
    assert computed / wall < 0.01
    assert (wall - inside) / wall < 0.01
