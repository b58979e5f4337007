"""The report page's file: what is in it, how it keeps text from being markup, and that it repeats."""

import base64
import hashlib
import io
import json
import re

import pytest
from linbench.errors import StoreError
from linbench.results.gallery.places import PNG_KEY, read_sheet
from linbench.results.html.metrics import metric_label
from linbench.results.html.page import script_safe_json
from linbench.results.reporting.mixing import mix_devices
from linbench.results.reporting.report import tables_of
from linbench.results.schema import Row
from page_for_tests import COMMIT, draw_sheet, few_rows, hold_predictions, hostile_row, many_rows, measured, page
from PIL import Image
from rows_for_tests import hq_row, latency_row, three

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> \"a\" 'b' {{data}} <!--"


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


def test_equal_rows_give_equal_bytes_that_name_no_time(tmp_path):
    first = page(tmp_path / "a", few_rows()).read_bytes()
    again = page(tmp_path / "b", [Row.from_dict(row.to_dict()) for row in few_rows()]).read_bytes()
    assert first == again


def test_every_value_of_every_table_tells_its_rows(tmp_path):
    rows = few_rows()
    data = data_of(page(tmp_path, rows))
    assert len(data["tables"]) == len(tables_of(rows)) >= 3
    for table in data["tables"]:
        names = {"system", "backbone", "resolution", "in the paper", "weights", "stage", "recipe"}
        told = 0
        for cells, sources in zip(table["cells"], table["sources"], strict=True):
            for (_, name), text, place in zip(table["columns"], cells, sources, strict=True):
                if re.match(r"[+-]?\d|OOM|fail", text) and name not in names:
                    assert place >= 0, (table["title"], name, text)
                    told += 1
        assert told > len(table["cells"])


def test_a_value_names_the_row_that_holds_its_number(tmp_path):
    data = data_of(page(tmp_path, few_rows()))
    (table,) = [one for one in data["tables"] if one["title"] == "Latency over resolution"]
    line = next(index for index, cells in enumerate(table["cells"]) if cells[0] == "vim-s")
    column = table["columns"].index(["latency (ms) at", "1024"])
    (place,) = table["sets"][table["sources"][line][column]]
    row = data["rows"][place]
    assert (row["backbone"], row["params"]["res"], row["metrics"]["latency_ms"]) == ("vim-s", 1024, 56)
    assert table["cells"][line][column].startswith("56.0")


def test_published_numbers_are_cited(tmp_path):
    data = data_of(page(tmp_path, few_rows()))
    table = next(one for one in data["tables"] if one["title"].startswith("High-quality"))
    line = next(index for index, cells in enumerate(table["cells"]) if cells[0] == "SAM (ViT-H)")
    column = table["columns"].index(["DIS", "paper"])
    (citation,) = table["sets"][table["sources"][line][column]]
    assert "2406.19369" in citation
    assert "Table 3" in citation
    assert "SAM (ViT-H)" in citation


def test_a_row_tells_device_commit_versions_and_date(tmp_path):
    data = data_of(page(tmp_path, few_rows()))
    row = data["rows"][0]
    short = data["provenances"][row["provenance"]]["short"]
    assert short["commit"] == f"{COMMIT[:12]}, with local changes"
    assert short["versions"] == "LinBench 0.1.0, Python 3.11.7, torch 2.6.0+cpu, timm 1.0.15, numba 0.61.0"
    assert (row["device"], row["created"][:10]) == ("Testor CPU 2000", "2026-01-01")
    assert row["run"] == {"kernels": {"bi_wkv": "cpu"}, "steps": 1200, "precision": "fp32"}
    assert len(data["provenances"]) == 1, "rows of one run share it"


def test_rows_without_numbers_keep_their_reason(tmp_path):
    data = data_of(page(tmp_path, few_rows()))
    reasons = {(row["status"], row["error"]) for row in data["rows"] if not row["metrics"]}
    assert reasons == {("oom", "CUDA out of memory. Tried to allocate 9 GiB"), ("failed", "it broke")}
    marks = [
        point["mark"] for series in data["latency"][0]["series"] for point in series["points"] if not point["time"]
    ]
    assert marks == ["OOM"] * 3


def test_points_of_one_setting_have_names_of_their_own(tmp_path):
    rows = [measured(hq_row("vim-s", three(50 + seed, 40), seed=seed, weights="random")) for seed in range(3)]
    rows += [measured(latency_row("vit-s", 512, 3.0, attention=kind)) for kind in ("sdpa", "eager")]
    data = data_of(page(tmp_path, rows))
    names = [(row["suite"], row["setting"], row["label"]) for row in data["rows"]]
    assert len(set(names)) == 5
    assert names[0][2] == "vim-s (seed=0)"
    assert names[3][2] == "vit-s (attention=sdpa)"


def test_names_leave_digests_out_where_other_words_are_enough(tmp_path):
    told = [("demo", "a" * 12), ("long", "b" * 12), ("long", "c" * 12)]
    rows = [measured(hq_row("vim-s", three(50, 40), recipe=name, recipe_sha=sha)) for name, sha in told]
    names = [row["label"] for row in data_of(page(tmp_path, rows))["rows"]]
    assert names == ["vim-s (recipe=demo)", *(f"vim-s (recipe=long, recipe_sha={sha})" for _, sha in told[1:])]


def test_the_chart_of_most_points_comes_first(tmp_path):
    rows = [measured(latency_row("vim-s", 1024, 9.0, batch=1, stage="e2e"))]
    rows += [measured(latency_row("vim-s", res, res / 100, batch=8)) for res in (512, 1024)]
    points = [[len(one["points"]) for one in chart["series"]] for chart in data_of(page(tmp_path, rows))["latency"]]
    assert points == [[2], [1]]


def test_hostile_text_stays_text(tmp_path):
    path = page(tmp_path, [hostile_row(HOSTILE)], problems=[HOSTILE])
    data = data_of(path)
    assert data["rows"][0]["error"] == data["rows"][0]["device"] == data["problems"][0] == HOSTILE
    assert "window.hacked = 1</script>" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("value", ["</script>", "<!--", "]]>", "&lt;", "\ud800", "\u2028", "{{script}}", "\\u003c"])
def test_script_safe_json_reads_back(value):
    text = script_safe_json({"a": value})
    assert json.loads(text) == {"a": value}
    assert not set("<>&") & set(text)
    text.encode("utf-8")


def test_numbers_that_json_lacks_become_null(tmp_path):
    row = measured(
        Row(hq_row("vit-s").cell, "ok", {"miou": float("nan"), "mbiou": 3.0}, provenance=hq_row("x").provenance)
    )
    assert data_of(page(tmp_path, [row]))["rows"][0]["metrics"] == {"mbiou": 3.0, "miou": None}


def test_only_the_page_s_own_scripts_may_run_and_nothing_is_fetched(tmp_path):
    text = page(tmp_path, few_rows()).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1).replace("&#x27;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert digests == set(re.findall(r"'sha256-([^']*)'", policy))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!#)|url\(', markup), "everything is inside"
    assert "Redistribution and use in source and binary forms" in text, "Bokeh's licence asks for its notice"


def test_thousand_rows_stay_below_five_megabytes(tmp_path):
    rows = many_rows()
    assert len(rows) == 1000
    assert page(tmp_path, rows).stat().st_size < 5_000_000


def test_a_row_that_charts_cannot_hold_is_named_and_the_rest_is_drawn(tmp_path):
    broken = measured(latency_row("vit-s", 512, 4.0))
    broken.cell.params["res"] = "wide"
    good = measured(latency_row("vim-s", 512, 4.0))
    from linbench.results.html import write_page

    data = data_of(write_page([broken, good], [], tmp_path))
    assert [series["label"] for series in data["latency"][0]["series"]] == ["vim-s"]
    (problem,) = data["problems"]
    assert broken.cell.key in problem


def test_rows_of_mixed_devices_are_found(tmp_path):
    rows = mix_devices([measured(latency_row("vim-s", 512, 4.0, device=name)) for name in ("CPU A", "CPU B")])
    data = data_of(page(tmp_path, rows))
    assert {row["params"]["machine"] for row in data["rows"]} == {1, 2}


def test_an_unwritable_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give a writable folder"):
        page(tmp_path / "file", few_rows())


def test_sheets_of_demo_data_are_inside_and_others_beside_the_page(tmp_path):
    draw_sheet(tmp_path, "rwkvsam-s-demo-trained")
    draw_sheet(tmp_path, "vit-s-real-trained")
    (tmp_path / "figures" / "gallery-torn.png").write_bytes(b"\x89PNG torn")
    demo, torn, real = data_of(page(tmp_path, few_rows()))["gallery"]
    assert demo["src"].startswith("data:image/png;base64,")
    assert real["src"] == "figures/gallery-vit-s-real-trained.png"
    assert torn["name"] == "torn"
    assert "figures/gallery-torn.png" in torn["problem"]


def test_pictures_that_rows_hold_are_compared_and_a_torn_one_is_named(tmp_path):
    rows = [row for row in few_rows() if row.cell.suite == "sam-hq"]
    hold_predictions(tmp_path, rows)
    rows[1].samples["gallery/iou"] = []
    data = data_of(page(tmp_path, rows))
    (picture,) = data["pictures"]
    assert (picture["title"], picture["width"], picture["height"]) == ("DIS lattice.png", 80, 60)
    assert [data["rows"][one["row"]]["backbone"] for one in picture["predictions"]] == [
        "rwkvsam-s",
        "vit-s",
        "vmamba-s",
    ]
    assert picture["src"].startswith("data:image/png;base64,")
    mask = Image.open(io.BytesIO(base64.b64decode(picture["truth"].partition(",")[2]))).convert("RGBA")
    assert [mask.getpixel(place)[3] for place in ((40, 30), (2, 2))] == [255, 0]
    assert [problem for problem in data["problems"] if rows[1].cell.key in problem and "the gallery" in problem]


def test_a_sheet_says_where_its_pictures_lie(tmp_path):
    path = draw_sheet(tmp_path, "vim-s-demo-trained")
    sheet = read_sheet(path)
    assert [line["title"] for line in sheet.lines] == ["DIS 3.png", "DIS 8.png"]
    picture = Image.open(path).convert("RGB")
    x, y, width, height = sheet.lines[1]["truth"]
    assert width / height == pytest.approx(120 / 90, rel=0.02)
    corner = picture.getpixel((round(x) + 2, round(y + height) - 3))
    assert corner[0] == corner[1] == corner[2] < 250, "grey outside the mask, not paper"
    red, _, blue = picture.getpixel((round(x + width / 2), round(y + height / 2)))
    assert blue > red, "tinted inside the true mask"
    assert picture.getpixel((round(x + width) + 4, round(y + height / 2))) == (255, 255, 255)


@pytest.mark.parametrize(
    "places", ["no JSON", "[1]", '[{"title": "a"}]', '[{"title": 3, "image": [0, 0, 1, "x"]}]', "{}"]
)
def test_a_sheet_with_foreign_places_is_shown_whole(tmp_path, places):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(PNG_KEY, places)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", pnginfo=text)
    assert read_sheet(tmp_path / "a.png") == (8, 6, [])


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("latency_ms", "latency (ms)"),
        ("latency_ms_low", "latency (ms), 95 % low"),
        ("peak_memory_mib", "peak memory (MiB)"),
        ("DIS/miou", "DIS mIoU (%)"),
        ("top1", "top-1 (%)"),
        ("images_per_s", "throughput (images/s)"),
        ("matmul_gflops_per_s", "matmul (GFLOP/s)"),
        ("train_seconds", "train (s)"),
        ("tokens", "tokens"),
    ],
)
def test_metrics_have_names_with_units(name, label):
    assert metric_label(name) == label


def test_bench_report_writes_the_page_and_names_what_it_left_out(tmp_path, capsys):
    from linbench.cli import main
    from linbench.results.store import Store

    store = Store(tmp_path)
    for row in few_rows():
        store.write(row)
    (tmp_path / "runs" / "latency" / "foreign.json").write_text('{"a": 1}')
    with pytest.raises(SystemExit) as stop:
        main(["report", "--html", "--results", str(tmp_path)])
    assert not stop.value.code
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == str(tmp_path / "report.html")
    assert "runs/latency/foreign.json: no row of LinBench" in told.err
    data = data_of(tmp_path / "report.html")
    assert (len(data["rows"]), data["problems"]) == (26, ["runs/latency/foreign.json: no row of LinBench"])


@pytest.mark.parametrize("options", [["--html", "--table", "3"], ["--html", "--check"]])
def test_bench_report_refuses_a_page_of_a_part(tmp_path, capsys, options):
    from linbench.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["report", *options, "--results", str(tmp_path)])
    assert stop.value.code == 2
    assert "--html" in capsys.readouterr().err
