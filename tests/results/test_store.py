import errno
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from linbench.errors import StoreError, UsageError
from linbench.results import store as store_module
from linbench.results.schema import Cell, Row
from linbench.results.store import Store, UnsavedRowError, backbone_name, folder_name
from rows_for_tests import latency_row, on

WRITER = """
import sys
from linbench.results.schema import Cell, Row
from linbench.results.store import Store
store, name, count, size = Store(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for index in range(count):
    cell = Cell("latency", name, {"index": index})
    row = Row(cell, "ok", {"latency_ms": index}, {"latency_ms": [float(index)] * size})
    print(store.write(row), flush=True)
"""


def writer(root, name, count, size=4):
    command = [sys.executable, "-I", "-c", WRITER, str(root), name, str(count), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_row_comes_back_as_it_was_written(tmp_path):
    row = latency_row("vit-s", 512, 12.5)
    row.samples = {"latency_ms": [[1.0, 2.0], [3.0, 4.0]]}
    path = Store(tmp_path).write(row)
    assert path.parent == tmp_path / "runs" / "latency" / "vit-s"
    assert path.name.startswith(row.cell.key)
    back = Store(tmp_path).rows("latency")[0]
    assert (back.cell.key, back.metrics, back.samples) == (row.cell.key, row.metrics, row.samples)
    assert back.provenance == row.provenance
    assert back.created_utc.endswith("+00:00")


def test_large_samples_go_to_a_side_file_that_the_row_names(tmp_path):
    row = latency_row("vit-s", 512, 12.5)
    row.samples = {"iou": np.linspace(0, 1, 5000).tolist()}
    path = Store(tmp_path).write(row)
    side = path.with_name(path.stem + ".samples.json.gz")
    assert path.stat().st_size < store_module.SIDE_FILE_BYTES
    assert json.loads(gzip.decompress(side.read_bytes())) == row.samples
    assert Store(tmp_path).rows()[0].samples == row.samples

    side.write_bytes(side.read_bytes()[:-9])
    rows, problems = Store(tmp_path).scan()
    assert rows[0].metrics["latency_ms"] == 12.5
    assert rows[0].samples == {}
    assert len(problems) == 1
    assert "SHA-256" in problems[0]


def test_numpy_values_and_numbers_without_a_json_word_are_stored(tmp_path):
    row = Row(Cell("latency", "vit-s"), "unstable", {"a": np.float32(1.5), "b": float("nan")}, {"c": [np.inf, 2]})
    Store(tmp_path).write(row)
    back = Store(tmp_path).rows()[0]
    assert back.metrics == {"a": 1.5, "b": None}
    assert back.samples == {"c": [None, 2]}


def test_a_rewritten_cell_keeps_both_rows_and_the_newest_counts(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write(latency_row("vit-s", 512, 1.0))

    class Yesterday(store_module.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - store_module.timedelta(days=1)

    monkeypatch.setattr(store_module, "datetime", Yesterday)
    store.write(latency_row("vit-s", 512, 2.0))
    assert len(store.rows()) == 2
    assert [row.metrics["latency_ms"] for row in store.latest()] == [2.0]


def test_done_takes_the_newest_ok_row_and_only_that(tmp_path):
    store = Store(tmp_path)
    cell = latency_row("vit-s", 512).cell
    assert store.done(cell) is None
    store.write(latency_row("vit-s", 512, status="crash"))
    assert store.done(cell) is None
    store.write(latency_row("vit-s", 512, 3.0))
    store.write(latency_row("vit-s", 512, status="interrupted"))
    assert store.done(cell).metrics["latency_ms"] == 3.0
    assert store.done(cell, device="another GPU") is None
    assert [row.status for row in store.latest()] == ["ok"]


def test_the_same_cell_on_two_devices_is_two_measurements(tmp_path):
    store = Store(tmp_path)
    store.write(latency_row("vit-s", 512, 1.0, device="GPU A"))
    store.write(latency_row("vit-s", 512, 2.0, device="GPU B"))
    assert [row.metrics["latency_ms"] for row in store.latest()] == [1.0, 2.0]


@pytest.mark.parametrize("name", ["timm:resnet50.a1_in1k", "timm:hf-hub:org/Model", "baseline:box", "vim-s+sam"])
def test_names_become_one_safe_folder_and_come_back(tmp_path, name):
    assert backbone_name(folder_name(name)) == name
    path = Store(tmp_path).write(latency_row(name, 512, 1.0))
    assert path.parent.parent == tmp_path / "runs" / "latency"
    assert not set(path.parent.name) & set(':/\\"*?<>|')
    assert Store(tmp_path).done(latency_row(name, 512).cell).cell.backbone == name


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc", "", "a//b", ".hidden", "a\0b", "a\nb", "x" * 200])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(UsageError):
        Store(tmp_path / "in").write(latency_row(name, 512, 1.0))
    with pytest.raises(UsageError):
        Store(tmp_path / "in").write(Row(Cell(name or "..", "vit-s"), "ok"))
    assert not list(tmp_path.rglob("*.json"))


def test_a_link_out_of_the_store_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "runs").mkdir(parents=True)
    (tmp_path / "in" / "runs" / "latency").symlink_to(tmp_path / "out")
    with pytest.raises(StoreError, match="leads out"):
        Store(tmp_path / "in").write(latency_row("vit-s", 512, 1.0))


def test_foreign_and_torn_files_are_named_and_passed_over(tmp_path):
    store = Store(tmp_path)
    good = store.write(latency_row("vit-s", 512, 1.0))
    text = good.read_text()
    (good.parent / "torn.json").write_text(text[: len(text) // 2])
    (good.parent / "empty.json").write_bytes(b"")
    (good.parent / "binary.json").write_bytes(bytes(range(256)))
    (good.parent / "list.json").write_text("[1, 2]")
    (good.parent / "newer.json").write_text(text.replace('"schema": 1', '"schema": 99'))
    (good.parent / "edited.json").write_text(text.replace('"res": 512', '"res": 1024'))
    (good.parent / ".left.part").write_text("half")
    rows, problems = store.scan()
    assert [row.metrics["latency_ms"] for row in rows] == [1.0]
    named = sorted(problem.split(":")[0].rsplit("/", 1)[1] for problem in problems)
    assert named == ["binary.json", "edited.json", "empty.json", "list.json", "newer.json", "torn.json"]
    with pytest.warns(UserWarning, match="not a readable row") as warned:
        store.rows()
    assert len(warned) == len(problems)


def test_an_empty_store_has_no_rows(tmp_path):
    assert Store(tmp_path / "none").rows() == []
    assert Store(tmp_path / "none").latest("latency") == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_full_or_read_only_disk_gives_the_row_back(tmp_path, monkeypatch, code, call):
    store = Store(tmp_path)
    earlier = store.write(latency_row("vit-s", 512, 1.0))

    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UnsavedRowError) as caught:
        store.write(latency_row("vit-s", 1024, 2.0))
    with pytest.raises(StoreError, match="LINBENCH_RESULTS"):
        store.check_writable()
    monkeypatch.undo()
    assert caught.value.exit_code == 1
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Row.from_dict(json.loads(caught.value.row_json)).metrics["latency_ms"] == 2.0
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]


def test_a_path_below_a_file_fails_in_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / "file" / "results")
    with pytest.raises(StoreError, match="cannot write results under"):
        store.check_writable()
    with pytest.raises(UnsavedRowError):
        store.write(latency_row("vit-s", 512, 1.0))


def test_a_writable_folder_passes_and_stays_empty(tmp_path):
    Store(tmp_path / "new").check_writable()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_short_writes_still_store_the_whole_row(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:7])))
    Store(tmp_path).write(latency_row("vit-s", 512, 4.0))
    monkeypatch.undo()
    assert Store(tmp_path).scan().problems == []
    assert Store(tmp_path).rows()[0].metrics["latency_ms"] == 4.0


def test_without_hard_links_a_row_is_renamed_into_place(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = Store(tmp_path).write(latency_row("vit-s", 512, 4.0))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_two_processes_write_a_hundred_rows_each(tmp_path):
    running = [writer(tmp_path, "vit-s", 100), writer(tmp_path, "vit-s", 100)]
    told = [path for process in running for path in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in running] == [0, 0]
    rows, problems = Store(tmp_path).scan()
    assert problems == []
    assert len(set(told)) == len(rows) == 200
    assert len(Store(tmp_path).latest()) == 100


def test_every_row_told_of_survives_a_kill(tmp_path):
    told = set()
    for seed in range(20):
        process = writer(tmp_path, f"model-{seed}", 10_000, size=3000)
        told.add(process.stdout.readline().strip())
        time.sleep(random.Random(seed).random() * 0.1)
        process.send_signal(signal.SIGKILL)
        told |= {line for line in process.stdout.read().splitlines() if line.endswith(".json")}
        process.wait(timeout=20)
    rows, problems = Store(tmp_path).scan()
    assert problems == []
    stored = {str(path) for path in tmp_path.rglob("*.json")}
    assert told <= stored
    assert len(rows) == len(stored)
    assert all(len(row.samples["latency_ms"]) == 3000 for row in rows)


def test_provenance_of_another_schema_is_kept(tmp_path):
    row = latency_row("vit-s", 512, 1.0)
    row.provenance = {**on(), "unknown": {"deep": [1, None]}}
    Store(tmp_path).write(row)
    assert Store(tmp_path).rows()[0].provenance == row.provenance


def test_rows_of_another_installation_are_kept_but_stop_no_measurement(tmp_path):
    row = latency_row("vit-s", 512, 3.0)
    Store(tmp_path, installation="theirs").write(row)
    ours = Store(tmp_path, installation="ours")
    assert ours.done(row.cell) is None
    assert [found.provenance["installation"] for found in ours.rows()] == ["theirs"]
    ours.write(row)
    assert ours.done(row.cell).provenance["installation"] == "ours"
