import itertools

import pandas as pd
import pytest
from linbench.errors import UsageError
from linbench.results.comparison.compare import compare_sets, compare_subjects, comparison_table, why_not_comparable
from linbench.results.comparison.sides import find_sides
from linbench.results.drawing.figure3 import figure3
from linbench.results.schema import Cell, Row
from linbench.results.store import Store
from linbench.results.tabling.latency import latency_tables
from linbench.results.tabling.latency_values import latency_ratio
from linbench.results.tabling.tables import to_csv, to_markdown
from rows_for_tests import latency_row, on, texts


def timed(backbone, res, ms, *, turns="s:0", drift=(1.0, 1.3, 0.8, 1.1, 0.9, 1.2), **params):
    """A row of rounds that a drifting machine slowed down or sped up."""
    row = latency_row(backbone, res, ms, **params)
    row.samples = {"round": list(range(len(drift))), "latency_ms": [[ms * factor] * 3 for factor in drift]}
    row.provenance = {**row.provenance, "schedule": {"sweep": "s", "turns": f"{turns}:{res}"}}
    low, high = min(drift) * ms, max(drift) * ms
    row.metrics |= {"latency_ms_low": low, "latency_ms_high": high, "latency_ms_level": 0.96875}
    return row


def noise(floor, sweep="s"):
    cell = Cell("latency", "sentinel:768", {"measure": "noise", "device": "cpu", "threads": 2})
    return Row(cell, "ok", {"noise_floor": floor}, {}, {**on(), "schedule": {"sweep": sweep}})


def test_rounds_that_both_took_part_in_are_paired():
    rows = [timed("fast", 512, 100.0), timed("slow", 512, 105.0)]
    (found,) = compare_subjects(rows, "fast", "slow")
    assert found.rounds == 6
    assert found.verdict == "faster"
    assert found.ratio[:3] == pytest.approx((1.05, 1.05, 1.05))
    (back,) = compare_subjects(rows, "slow", "fast")
    assert back.verdict == "slower"


@pytest.mark.parametrize("change", [{"turns": "other:0"}, {"drift": (1.0, 1.3, 0.8, 1.1, 0.9)}])
def test_without_shared_rounds_the_interval_is_the_widest(change):
    (found,) = compare_subjects([timed("fast", 512, 100.0), timed("slow", 512, 105.0, **change)], "fast", "slow")
    assert found.rounds == 0
    assert found.verdict == "tie"
    assert found.ratio.low < 0.9 < 1.2 < found.ratio.high
    assert "took no turns" in comparison_table([found], "fast", "slow").notes[-1]


def test_every_resolution_and_setting_that_both_have():
    settings = list(itertools.product((("a", 1.0), ("b", 2.0)), (512, 1024), ("fp32", "bf16")))
    rows = [timed(name, res, ms, dtype=dtype) for (name, ms), res, dtype in settings]
    rows += [timed("a", 2048, 9.0, dtype="fp32"), latency_row("b", 1536, status="oom", dtype="fp32")]
    rows += [latency_row("a", 1536, 5.0, dtype="fp32")]
    found = compare_subjects(rows, "a", "b")
    assert sorted({(one.title.split(", ")[1], one.res) for one in found}) == [
        *(("bf16", res) for res in (512, 1024)),
        *(("fp32", res) for res in (512, 1024, 1536)),
    ]
    table = comparison_table(found, "a", "b")
    assert any("OOM" in line for line in table.cells)
    text = to_markdown([table])
    assert "2.000 [2.000, 2.000]" in text
    assert [line[-1] for line in table.cells] == ["faster", "faster", "faster", "faster", "-"]
    assert "latency (ms) a" in text
    assert isinstance(table.frame, pd.DataFrame)
    assert found[0].to_dict()["ratio"]["value"] == 2.0
    assert [one.res for one in compare_subjects(rows, "a@dtype=fp32,res=512", "b")] == [512]


def test_settings_of_one_name_are_compared_when_they_are_asked_for():
    rows = [timed("vit-s", 512, ms, attention=kind) for kind, ms in (("sdpa", 1.0), ("eager", 3.0))]
    (found,) = compare_subjects(rows, "vit-s@attention=sdpa", "vit-s@attention=eager")
    assert found.ratio.value == pytest.approx(3.0)
    with pytest.raises(UsageError, match="several subjects; choose one, for example vit-s@attention=sdpa"):
        compare_subjects([*rows, timed("a", 512, 1.0)], "a", "vit-s")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "GPU B"}, "device is Testor CPU 2000 for one, GPU B for the other"),
        ({"dtype": "bf16"}, "dtype is float32 for one, bf16"),
        ({"tf32": True}, "tf32 is false for one, true"),
        ({"compile": "graphs"}, "compile is null for one, graphs"),
        ({"threads": 4}, "threads is 2 for one, 4"),
    ],
)
def test_rows_that_were_not_measured_alike_are_one_clear_error(change, words):
    rows = [timed("a", 512, 1.0), timed("b", 512, 2.0, **change)]
    with pytest.raises(UsageError, match="a and b cannot be compared") as caught:
        compare_subjects(rows, "a", "b")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "words"),
    [("c", "measured are: a, b"), ("a@dtype", "NAME@param=value"), ("a@dtype=fp8", "dtype is float32")],
)
def test_names_that_cannot_be_meant(first, words):
    with pytest.raises(UsageError, match=words):
        compare_subjects([timed("a", 512, 1.0), timed("b", 512, 2.0)], first, "b")


def test_two_results_folders(tmp_path):
    for name, ms, device in (("one", 1.0, "CPU"), ("two", 1.5, "CPU"), ("gpu", 1.5, "GPU")):
        for res in (512, 1024):
            Store(tmp_path / name).write(timed("a", res, ms, device=device, drift=(1.0, 1.01, 0.99), turns=name))
    Store(tmp_path / "two").write(timed("b", 512, 1.0))
    here = Store(tmp_path)
    sides = find_sides(here, str(tmp_path / "one"), str(tmp_path / "two"))
    found = compare_sets(sides.first, sides.second)
    assert [(one.res, one.verdict, one.rounds) for one in found] == [(512, "faster", 0), (1024, "faster", 0)]
    sides = find_sides(here, str(tmp_path / "one"), str(tmp_path / "gpu"))
    assert compare_sets(sides.first, sides.second) == []
    assert why_not_comparable(sides.first, sides.second) == "devices are CPU and GPU"
    with pytest.raises(UsageError, match="two of a kind"):
        find_sides(here, str(tmp_path / "one"), "vit-s")


@pytest.mark.parametrize("sides", [("81be39d", "vit-s"), ("vit-s", "81be39d")])
def test_a_commit_is_compared_with_a_commit_alone(tmp_path, sides):
    with pytest.raises(UsageError, match=r"'81be39d' is a commit and 'vit-s' is none .* two of a kind"):
        find_sides(Store(tmp_path), *sides)


def test_speed_ups_of_the_table_are_paired_and_the_noise_floor_stands_below(tmp_path):
    rows = [timed("vit-s", 512, 105.0), timed("rwkvsam-s", 512, 100.0)]
    assert latency_ratio(*rows)[1] == 6
    overview, details = latency_tables([*rows, noise(0.031)])
    assert [line[5] for line in details.cells] == ["1.05", "1"]
    for table in (overview, details):
        assert "Differences below 3.1 % are noise" in table.notes[-1]
    assert set(details.frame["noise_floor"]) == {0.031}
    assert "not measured" in latency_tables([*rows, noise(0.031, sweep="another")])[0].notes[-1]
    said = texts(figure3([*rows, noise(0.031)], tmp_path)[1])
    assert "Differences below 3.1 % are noise" in said


def test_skipped_sizes_are_seen_in_the_figure(tmp_path):
    rows = [latency_row("vit-s", 512, 3.0), latency_row("vit-s", 1024, status="oom")]
    said = texts(figure3([*rows, latency_row("vit-s", 2048, status="skipped")], tmp_path)[1])
    assert "OOM" in said
    assert "not tried" in said


def test_a_a_pairs_have_a_table_of_their_own():
    rows = [timed("vit-s", res, ms, twin=twin) for res, ms in ((512, 1.0), (1024, 4.0)) for twin in "ab"]
    (table,) = latency_tables(rows)
    assert table.title == "A/A pairs"
    assert [line[-1] for line in table.cells] == ["tie", "tie"]
    assert table.notes == ("2 of 2 are ties.",)
    assert latency_tables(rows[:1]) == []


def test_throughput_has_a_table_of_its_own():
    params = {"batch": "auto", "measure": "throughput"}
    row = latency_row("vit-s", 512, **params, status="ok")
    row.metrics = {"images_per_s": 812.5, "images_per_s_low": 800.0, "images_per_s_high": 830.0, "best_batch": 24}
    (table,) = latency_tables([row, latency_row("vit-s", 1024, **params, status="oom")])
    assert table.cells[0] == ("vit-s", "512", "812.5", "[800, 830]", "24", "-")
    assert table.cells[1][2] == "OOM"
    assert "812.5" in to_csv([table])


def test_captions_name_flags():
    rows = [latency_row(name, 512, 2.0, channels_last=True, compile="graphs", tf32=True) for name in ("a", "b")]
    overview, _ = latency_tables(rows)
    assert "TF32 products, batch 1, 2 threads, channels-last, compile graphs" in overview.caption
