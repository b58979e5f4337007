import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from linbench.errors import UsageError
from linbench.results.drawing.marks import sealed
from linbench.results.reporting.check import check_report
from linbench.results.reporting.report import TABLES, ReportOptions, make_report, write_report
from linbench.results.reporting.what_to_run import COMMANDS, how_to_make
from linbench.results.store import Store
from rows_for_tests import hq_row, latency_row, three


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    for row in (hq_row("rwkvsam-s", three(66, 55)), latency_row("rwkvsam-s", 512, 2.0), latency_row("vit-s", 512, 3.0)):
        store.write(row)
    return store


def row_file(store, backbone="vit-s"):
    (path,) = (store.root / "runs" / "latency" / backbone).glob("*.json")
    return path


def test_what_has_no_rows_says_what_to_run(store):
    report = make_report(store, store.root)
    assert {"table kernels", "figure throughput", "figure boundary", "figure 4"} <= set(report.missing)
    assert "table 3" not in report.missing
    assert "`bench kernels`" in how_to_make("table kernels")
    assert how_to_make("table 6").count("bench run") == 2
    assert {f"table {name}" for name in TABLES} <= set(COMMANDS)


def test_a_report_without_published_numbers(store):
    text = "".join(
        path.read_text() for path in make_report(store, store.root, ReportOptions(published=False)).paths
        if path.suffix == ".md"
    )  # fmt: skip
    assert "Paper" not in text
    assert "66.0 / 55.0" in text


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda text: text[:40], "unreadable"),
        (lambda text: '{"a": 1}', "no row of LinBench"),
        (lambda text: "\x00\xff", "unreadable"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "update linbench"),
        (lambda text: text.replace('"latency_ms": 3.0', '"latency_ms": 1.0'), "the file was edited"),
        (lambda text: text.replace('"res": 512', '"res": 1024'), "the file was edited"),
        (lambda text: text.replace('"latency_ms": 3.0', '"latency_ms": "fast"'), "metrics.latency_ms"),
        (lambda text: text.replace('"status": "ok"', '"status": "fine"'), "status 'fine'"),
    ],
)
def test_a_file_that_is_no_row_is_named_and_the_rest_reported(store, harm, reason):
    path = row_file(store)
    path.write_text(harm(path.read_text()))
    report = make_report(store, store.root, only="latency")
    (problem,) = report.problems
    assert path.name in problem
    assert reason in problem
    text = (store.root / "tables" / "latency.md").read_text()
    assert "rwkvsam-s" in text
    assert "vit-s" not in text


def test_rows_without_a_digest_are_read_as_before(store):
    path = row_file(store)
    data = json.loads(path.read_text())
    del data["sha256"]
    path.write_text(json.dumps(data))
    assert make_report(store, store.root, only="latency").problems == []


def test_a_row_that_lacks_what_its_suite_has_is_named_and_the_rest_reported(store):
    odd = latency_row("vim-s", 512, 1.0)
    params = {name: value for name, value in odd.cell.params.items() if name != "res"}
    store.write(replace(odd, cell=replace(odd.cell, params=params)))
    report = make_report(store, store.root)
    assert report.problems
    assert all("(latency, vim-s) does not fit" in problem for problem in report.problems)
    assert "rwkvsam-s" in (store.root / "tables" / "latency.md").read_text()
    assert (store.root / "figures" / "figure3.png").is_file()


def test_a_checked_report_is_what_its_rows_make(store):
    write_report(store, store.root)
    (store.root / "figures" / "gallery-a-demo-trained.png").write_bytes(b"drawn while scoring")
    assert check_report(store, store.root) == ([], [])


def test_a_check_names_what_differs_is_missing_or_has_no_rows(store):
    write_report(store, store.root)
    tables, figures = store.root / "tables", store.root / "figures"
    text = (tables / "table3.md").read_text()
    (tables / "table3.md").write_text(text.replace("66.0 / 55.0", "67.0 / 55.0"))
    (tables / "latency.tex").unlink()
    (tables / "kernels.md").write_text("copied from elsewhere")
    shutil.copy(figures / "figure3.png", figures / "memory.png")
    (figures / "figure1.svg").write_text("<svg/>")
    faults, _ = check_report(store, store.root)
    assert [fault.partition(":")[0] for fault in faults] == [
        "tables/table3.md",
        "tables/latency.tex",
        "figures/figure1.svg",
        "figures/memory.png",
        "tables/kernels.md",
    ]
    assert "from line" in faults[0]
    assert "missing" in faults[1]
    assert "no digest" in faults[2]
    assert "other data" in faults[3]
    assert "`bench kernels`" in faults[4]


def test_a_check_fails_when_a_row_is_gone_or_came_later(store):
    write_report(store, store.root)
    store.write(latency_row("rwkvsam-s", 512, 9.0))
    assert {fault.partition(":")[0] for fault in check_report(store, store.root)[0]} >= {
        "tables/latency.md",
        "tables/latency.csv",
        "figures/figure3.pdf",
    }


def test_a_check_names_pictures_that_were_changed_by_hand(store):
    write_report(store, store.root)
    figures = store.root / "figures"
    for name, harm in (
        ("figure3.svg", lambda data: data.replace(b"stroke", b"stroke ", 1)),
        ("memory.pdf", lambda data: data + b"% more"),
        ("memory.svg", lambda data: data[: data.rindex(b"<!-- linbench seal")]),
    ):
        (figures / name).write_bytes(harm((figures / name).read_bytes()))
    sheet = (figures / "figure3.png").read_bytes()
    (figures / "gallery-whole-demo.png").write_bytes(sheet)
    (figures / "gallery-changed-demo.png").write_bytes(sheet[:-1] + b"x")
    faults, _ = check_report(store, store.root)
    assert faults == [
        "figures/figure3.svg: was changed after it was written; run `bench report`",
        "figures/memory.svg: carries no seal of its bytes; `bench report` draws it anew",
        "figures/memory.pdf: was changed after it was written; run `bench report`",
        "figures/gallery-changed-demo.png: was changed after it was written; score again, or remove it",
    ]
    write_report(store, store.root)
    (figures / "gallery-changed-demo.png").unlink()
    assert check_report(store, store.root)[0] == []


def test_pictures_of_another_machine_pass_and_so_do_the_last_digits_of_csv(store):
    from PIL import Image, PngImagePlugin

    write_report(store, store.root)
    path = store.root / "figures" / "figure3.png"
    with Image.open(path) as picture:
        kept = PngImagePlugin.PngInfo()
        kept.add_text("Description", picture.info["Description"])
        picture.resize((picture.width // 2, picture.height // 2)).save(path, pnginfo=kept)
    path.write_bytes(sealed(path.read_bytes()))
    csv = store.root / "tables" / "latency.csv"
    csv.write_text(csv.read_text().replace("2.06", "2.0600000000000005"))
    assert check_report(store, store.root)[0] == []


def test_a_report_is_made_alike_under_other_hash_seeds(store, tmp_path):
    code = "import sys; from linbench.results.reporting.report import write_report; "
    code += "from linbench.results.store import Store; "
    code += "write_report(Store(sys.argv[1]), __import__('pathlib').Path(sys.argv[2]))"
    for seed in ("1", "2"):
        command = [sys.executable, "-P", "-c", code, str(store.root), str(tmp_path / seed)]
        subprocess.run(command, check=True, env={**__import__("os").environ, "PYTHONHASHSEED": seed}, timeout=120)
    made = [sorted(path for path in (tmp_path / seed).rglob("*") if path.is_file()) for seed in ("1", "2")]
    assert [path.name for path in made[0]] == [path.name for path in made[1]]
    assert len(made[0]) > 10
    for one, other in zip(*made, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        assert one.stat().st_size > 100


def test_an_unknown_table_is_one_line(store):
    with pytest.raises(UsageError, match="expected one of"):
        make_report(store, store.root, only="9")


def test_a_report_of_many_backbones_leaves_no_row_out_and_no_file_empty(tmp_path):
    store = Store(tmp_path)
    names = [f"timm:net{index}" for index in range(6)]
    for name in names:
        for res in (256, 512):
            store.write(latency_row(name, res, res / 100))
        for seed in range(3):
            store.write(hq_row(name, three(60 + seed, 50), seed=seed))
    report = make_report(store, tmp_path)
    assert len(report.rows) == 30
    assert report.problems == []
    assert all(path.stat().st_size > 100 for path in report.paths)
