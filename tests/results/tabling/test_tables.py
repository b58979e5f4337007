import io
import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest
from linbench.errors import StoreError
from linbench.results.published import load_published
from linbench.results.schema import Cell, Row
from linbench.results.series import split_series
from linbench.results.tabling.latency import latency_tables
from linbench.results.tabling.latex import latex_escape, to_latex
from linbench.results.tabling.table3 import table3
from linbench.results.tabling.tables import to_csv, to_markdown, write_tables
from rows_for_tests import hq_row, latency_row, three


def cell(table, line, column):
    """Text at the line whose first or second cell is `line`, under the column `(group, name)`."""
    (found,) = [cells for cells in table.cells if line in cells[:2]]
    return found[table.columns.index(column)]


def test_a_measured_system_stands_beside_its_published_numbers():
    (table,) = table3([hq_row("rwkvsam-s", three(66.04, 55.05), data="real", seed=0)])
    assert cell(table, "rwkvsam-s", ("", "in the paper")) == "RWKV-SAM (Ours)"
    assert cell(table, "rwkvsam-s", ("DIS", "paper")) == "80.5 / 75.2"
    assert cell(table, "rwkvsam-s", ("DIS", "measured")) == "66.0 / 55.0"
    assert cell(table, "rwkvsam-s", ("DIS", "delta")) == "-14.5 / -20.2"
    assert cell(table, "rwkvsam-s", ("params (M)", "measured")) == "19.7"
    assert cell(table, "HQ-SAM", ("DIS", "measured")) == "-"
    assert cell(table, "HQ-SAM", ("FPS", "paper")) == "4.4"
    assert len(table.cells) == len(load_published()["table3"].rows)


def test_lines_that_only_the_paper_has_stand_once():
    ablation = [hq_row("rwkvsam-t", three(9, 9), datasets=["DIS"], refine=name) for name in ("conv", "rwkv")]
    for row in ablation:
        row.cell.params["dataset_fingerprints"] = {"DIS": "d"}
    folders = hq_row("rwkvsam-s", three(60, 50), data="folders")
    rows = [*ablation, hq_row("vim-s", three(50, 40)), folders, hq_row("rwkvsam-s", three(66, 55), data="real")]
    tables = table3(rows)
    only_there = [[line[0] for line in table.cells if line[1] == "only there"] for table in tables]
    assert [len(names) for names in only_there if names] == [len(load_published()["table3"].rows) - 1]
    whole = tables[next(place for place, names in enumerate(only_there) if names)]
    assert "Data: real" in whole.caption
    assert not any("paper" in name for table in tables for _, name in table.columns if "refine" in table.cells[0][0])


def test_demo_data_is_named_and_no_difference_is_drawn():
    (table,) = table3([hq_row("rwkvsam-s", three(66, 55))])
    assert "procedurally drawn; not comparable" in table.caption
    assert ("DIS", "delta") not in table.columns
    assert table.frame["DIS/miou_delta"].isna().all()


def test_parameters_of_the_other_sizes_come_from_table_1():
    (table,) = table3([hq_row("rwkvsam-t", three(66, 55))])
    assert cell(table, "rwkvsam-t", ("params (M)", "paper")) == "5.0"
    assert cell(table, "rwkvsam-t", ("DIS", "paper")) == "-"


@pytest.mark.parametrize(
    ("status", "shown"),
    [("oom", "OOM"), ("crash", "fail"), ("failed", "fail"), ("timeout", "fail"), ("wrong", "fail"), ("skipped", "skip"),
     ("unsupported", "n/a"), ("interrupted", "-")],
)  # fmt: skip
def test_a_row_without_numbers_shows_its_mark(status, shown):
    (table,) = table3([hq_row("vit-s", status=status, seed=0), hq_row("rwkvsam-s", three(66, 55), seed=0)])
    assert cell(table, "vit-s", ("DIS", "measured")) == shown
    assert cell(table, "vit-s", ("", "seeds")) == f"0 {shown}"
    assert any(f"{shown}: " in note for note in table.notes)
    assert any("it broke" in note for note in table.notes)


def test_an_unstable_row_has_a_dagger():
    (table,) = table3([hq_row("vit-s", three(66, 55), status="unstable")])
    assert cell(table, "vit-s", ("DIS", "measured")) == "66.0 / 55.0†"
    assert "unstable" in table.notes[0]


def test_seeds_are_averaged_and_told():
    rows = [hq_row("vit-s", three(60, 50), seed=0), hq_row("vit-s", three(64, 51), seed=10)]
    (table,) = table3([*rows, hq_row("vit-s", status="crash", seed=2)])
    assert cell(table, "vit-s", ("DIS", "measured")) == "62.0±2.8 / 50.5±0.7"
    assert cell(table, "vit-s", ("", "seeds")) == "0, 2 fail, 10"
    assert "Seeds: 0, 10, 2." in table.caption


def test_before_and_after_are_two_lines_and_the_box_baseline_is_the_last():
    rows = [hq_row("vit-s", three(60, 50), stage="trained"), hq_row("vit-s", three(30, 20), stage="before")]
    (table,) = table3([hq_row("baseline:box", three(33, 23), device="another machine", frame=None), *rows])
    lines = [cells for cells in table.cells if cells[1] != "only there"]
    assert [line[0] for line in lines] == ["vit-s", "vit-s", "baseline:box"]
    assert [line[table.columns.index(("", "stage"))] for line in lines] == ["before", "trained", "-"]
    gains = [line[table.columns.index(("all masks", "over box"))] for line in lines]
    assert gains == ["-3.0 / -3.0", "+27.0 / +27.0", "-"]


def test_devices_data_protocols_and_frames_never_share_a_table():
    rows = [
        hq_row("vit-s", three(60, 50)),
        hq_row("vit-s", three(61, 50), device="GPU B"),
        hq_row("vit-s", three(62, 50), protocol="hqsam"),
        hq_row("vit-s", three(63, 50), frame=1024),
        hq_row("vit-s", three(64, 50), dataset_fingerprints={"DIS": "d" * 64}),
    ]
    tables = table3(rows)
    shown = [cell(table, "vit-s", ("DIS", "measured")) for table in tables]
    assert sorted(shown) == [f"{value}.0 / 50.0" for value in (60, 61, 62, 63, 64)]
    assert sum("GPU B" in table.caption for table in tables) == 1


def test_two_recipes_of_one_name_are_told_apart():
    rows = [hq_row("vit-s", three(60 + i, 50), recipe="demo", recipe_sha=str(i) * 64) for i in range(2)]
    (table,) = table3(rows)
    shas = [line[table.columns.index(("", "recipe_sha"))] for line in table.cells if line[0] == "vit-s"]
    assert shas == ["0" * 8, "1" * 8]


def test_settings_without_a_column_are_told_in_the_label():
    rows = [hq_row("vit-s", three(60, 50)), hq_row("vit-s", three(61, 50), attention="eager")]
    labels = {line[0] for line in table3(rows)[0].cells}
    assert {"vit-s", "vit-s (attention=eager)"} <= labels


def test_what_only_some_systems_have_is_no_part_of_a_label():
    rows = [hq_row("vit-s", three(60, 50), kernels="auto"), hq_row("rwkvsam-s", three(61, 50), teacher_sha256="1" * 64)]
    assert [line[0] for line in table3([*rows, hq_row("baseline:box", three(33, 23))])[0].cells][-3:] == [
        "rwkvsam-s",
        "vit-s",
        "baseline:box",
    ]


def test_a_users_folders_have_columns_and_no_published_lines():
    scores = {"Horses": (80.0, 70.0), "ECSSD": (90.0, 85.0)}
    params = {"data": "real", "datasets": list(scores), "dataset_fingerprints": dict.fromkeys(scores, "e" * 64)}
    (table,) = table3([hq_row("rwkvsam-s", scores, **params)])
    assert [group for group, _ in table.columns if group in scores] == ["ECSSD", "Horses"]
    assert [line[0] for line in table.cells] == ["rwkvsam-s"]
    assert "in the paper" not in {name for _, name in table.columns}


def test_only_the_newest_row_of_a_cell_counts():
    (table,) = table3([hq_row("vit-s", three(10, 5)), hq_row("vit-s", three(60, 50))])
    assert cell(table, "vit-s", ("DIS", "measured")) == "60.0 / 50.0"


def test_a_baseline_alone_has_a_table_of_its_own():
    (table,) = table3([hq_row("baseline:box", three(33, 23))])
    assert cell(table, "baseline:box", ("DIS", "measured")) == "33.0 / 23.0"
    assert table3([]) == []


def sweep(device="CPU A"):
    rows = []
    for res in (512, 1024, 2048):
        tokens = (res / 16) ** 2
        rows.append(latency_row("rwkvsam-s", res, tokens / 10, device=device))
        slow = None if res == 2048 else tokens**2 / 20_000
        rows.append(latency_row("vit-s", res, slow, status="ok" if slow else "oom", device=device, attention="sdpa"))
    return rows


def test_latency_over_resolution_with_growth_and_oom():
    overview, details = latency_tables([*sweep(), latency_row("vit-s", 512, 102.0, attention="eager", device="CPU A")])
    assert cell(overview, "rwkvsam-s", ("", "growth exponent")) == "1.00±0.00"
    assert cell(overview, "vit-s (attention=sdpa)", ("", "growth exponent")) == "2.00"
    assert cell(overview, "vit-s (attention=sdpa)", ("latency (ms) at", "2048")) == "OOM"
    assert cell(overview, "vit-s (attention=eager)", ("latency (ms) at", "1024")) == "-"
    assert cell(overview, "rwkvsam-s", ("latency (ms) at", "1024")) == "409.6 [401.4, 421.9]"
    assert "CPU A, backbone only, float32, batch 1, 2 threads" in overview.caption
    head = ("", "speed-up over vit-s (attention=sdpa)")
    ratios = {(line[0], line[1]): line[details.columns.index(head)] for line in details.cells}
    assert ratios["rwkvsam-s", "512"] == "0.51"
    assert ratios["rwkvsam-s", "1024"] == "2.05"
    assert ratios["rwkvsam-s", "2048"] == "-"
    assert ratios["vit-s (attention=eager)", "512"] == "0.51"
    assert details.cells[0][-1] == "75 %"


def test_a_tie_is_called_one():
    rows = [latency_row("vit-s", 512, 100.0), latency_row("rwkvsam-s", 512, 99.0)]
    details = latency_tables(rows)[1]
    assert [line[5] for line in details.cells] == ["1.01 (tie)", "1"]


def test_intervals_that_hold_less_than_they_say_are_named():
    rows = [latency_row("vit-s", res, 5.0) for res in (512, 1024)]
    rows[0].metrics["latency_ms_level"] = 0.957
    rows[1].metrics["latency_ms_level"] = 0.875
    for table in latency_tables(rows):
        assert "Intervals of too few rounds for 95 %: vit-s at 1024 (87.5 %)." in table.notes


def test_latency_of_two_devices_is_two_tables():
    tables = latency_tables([*sweep("CPU A"), *sweep("GPU B")])
    assert [table.caption.count("GPU B") for table in tables] == [0, 0, 1, 1]
    assert len(latency_tables([*sweep(), latency_row("vit-s", 512, 5.0, dtype="bfloat16", device="CPU A")])) == 4


def test_without_the_reference_there_is_no_speed_up():
    details = latency_tables([latency_row("rwkvsam-s", 512, 5.0)])[1]
    assert not any("speed-up" in name for _, name in details.columns)


def test_no_two_series_share_a_label():
    rows = [latency_row("vit-s", 512, 1.0, attention=kind, compile=flag) for kind in ("a", "b") for flag in (0, 1)]
    labels = [series.label for series in split_series(rows, varying=("res",))]
    assert len(set(labels)) == 4


def test_csv_reads_back_with_full_precision():
    tables = [*table3([hq_row("rwkvsam-s", three(200 / 3, 55), data="real", seed=3)])]
    frame = pd.read_csv(io.StringIO(to_csv(tables)))
    (row,) = frame[frame["system"] == "rwkvsam-s"].to_dict("records")
    assert row["DIS/miou"] == 200 / 3
    assert row["DIS/miou_delta"] == pytest.approx(200 / 3 - 80.5)
    assert row["status"] == "ok"
    assert frame["DIS/miou"].isna().sum() == len(frame) - 1
    assert to_csv([]) == ""


def test_markdown_is_a_table_of_even_lines():
    text = to_markdown(table3([hq_row("rwkvsam-s", three(66, 55), weights="a|b"), hq_row("vit-s", three(6, 5))]))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_latex_specials_are_escaped():
    assert latex_escape("a_b & 50 % #1 {x} $ ~ ^ \\") == (
        r"a\_b \& 50 \% \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert latex_escape("-1.5 / +2.0† vit-s-2") == r"$-$1.5 / +2.0$^\dagger$ vit-s-2"


def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    odd = {"my_set #1 & 50%": (80.0, 70.0), "Pferde\u2013größe \u00d7 中 ~^{}": (81.0, 71.0)}
    rows = [hq_row("timm:vit_small_patch16_224.augreg_in21k", odd, data="real", datasets=list(odd))]
    rows += [hq_row("vit-s", three(60, 50), status="unstable"), hq_row("rwkvsam-s", status="oom"), *sweep()]
    text = to_latex([*table3(rows), *latency_tables(rows)])
    page = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n" + text + "\\end{document}\n"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_is_balanced_and_no_line_begins_with_what_a_line_end_would_swallow():
    table = replace(table3([hq_row("rwkvsam-s", three(66, 55))])[0], goals={})
    odd = ("[1, 2]", "*", "{", "中", *table.cells[0][4:])
    text = to_latex([replace(table, cells=(odd, *table.cells))])
    for name in ("table*", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert "{}[1, 2] & " in text
    assert "[U+4E2D]" in text


def test_latex_has_booktabs_rules_and_as_many_cells_as_columns():
    (table,) = table3([hq_row("rwkvsam-s", three(66, 55))])
    lines = to_latex([table]).splitlines()
    assert [line for line in lines if "rule" in line and "cmid" not in line] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert {line.count(" & ") for line in body} == {len(table.columns) - 1}


def test_files_are_the_same_bytes_whatever_the_order_of_rows(tmp_path):
    rows = [
        hq_row("vit-s", three(60, 50), seed=1),
        hq_row("rwkvsam-s", three(66, 55), seed=0),
        *sweep("A"),
        *sweep("B"),
    ]
    first = write_tables([*table3(rows), *latency_tables(rows)], tmp_path / "1", "all")
    second = write_tables([*table3(rows[::-1]), *latency_tables(rows[::-1])], tmp_path / "2", "all")
    assert [path.name for path in first] == ["all.md", "all.csv", "all.tex"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_tables(table3([hq_row("vit-s", three(60, 50))]), tmp_path / "file" / "tables", "table3")


COCO = {"datasets": ["COCO"], "dataset_fingerprints": {"COCO": "e" * 64}, "data": "real"}


def coco_row(backbone, **params):
    row = hq_row(backbone, {"COCO": (0.0, 0.0)}, **COCO, **params)
    metrics = {"COCO/map": 46.0, "COCO/mbap": 31.0, "params_backbone": 1}
    return replace(row, metrics=metrics)


def test_coco_alone_has_no_column_over_all_masks():
    (table,) = table3([coco_row("rwkvsam-s", boxes="1" * 16), coco_row("baseline:box", boxes="1" * 16)])
    assert not [column for column in table.columns if column[0] == "all masks"]
    assert cell(table, "rwkvsam-s", ("COCO", "delta")) == "-0.9 / -1.2"


@pytest.mark.parametrize("params", [{"boxes": "truth"}, {"boxes": "1" * 16, "limit": 10}])
def test_other_boxes_and_fewer_images_are_not_held_against_the_paper(params):
    (table,) = table3([coco_row("rwkvsam-s", **params)])
    assert cell(table, "rwkvsam-s", ("COCO", "measured")) == "46.0 / 31.0"
    assert cell(table, "rwkvsam-s", ("COCO", "delta")) == "-"
    assert table.frame["COCO/map_delta"].isna().all()
    assert ("annotated boxes" if "limit" not in params else "Only the first 10 images") in table.caption


def test_what_the_scores_leave_out_is_noted():
    row = hq_row("rwkvsam-s", three(66, 55))
    run = {
        "bad_images": {"DIS": ["a.jpg: no such file"]},
        "empty_masks": {"DIS": [f"{number}.png" for number in range(7)]},
        "boxes": {"outside": 2},
    }
    rows = [replace(row, provenance={**row.provenance, "run": run}), hq_row("vit-s", three(66, 55))]
    notes = table3(rows)[0].notes
    assert any(note.endswith("left out of the scores: 1 (a.jpg: no such file).") for note in notes)
    assert any(
        note.startswith("DIS: empty true masks") and note.endswith(": 7 (0.png, 1.png, 2.png, 3.png, 4.png, ...).")
        for note in notes
    )
    assert any(note.startswith("COCO: boxes outside") and note.endswith("left out: 2.") for note in notes)


def test_digests_stand_in_labels_only_where_words_are_not_enough():
    def labels(*params):
        rows = [Row(Cell("classification", "vit-t", values), "ok") for values in params]
        return [one.label for one in split_series(rows, varying=("seed",), shown=("recipe",))]

    assert labels({"recipe": "demo", "recipe_sha": "a"}, {"recipe": "paper", "recipe_sha": "b"}) == ["vit-t", "vit-t"]
    assert labels({"recipe": "demo", "recipe_sha": "a"}, {"recipe": "demo", "recipe_sha": "b"}) == [
        "vit-t (recipe_sha=a)",
        "vit-t (recipe_sha=b)",
    ]
