import json
import os
import time

import numpy as np
import pandas as pd
import pytest
from linbench.errors import StoreError, UsageError
from linbench.results.export import rows_frame, select_rows, write_export
from linbench.results.gallery.tiles import Shown, load_tile, pack_mask, save_tile, shown_of, shown_samples, unpack_mask
from linbench.results.garbage import SETTLED_SECONDS, find_garbage, remove
from linbench.results.store import Store
from rows_for_tests import hq_row, latency_row, three

ROWS = [
    latency_row("vit-s", 512, 1.0, attention="sdpa"),
    latency_row("vit-t", 512, status="oom"),
    hq_row("rwkvsam-s", three(66, 55), seed=0),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["vit-s", "vit-t", "rwkvsam-s"]),
        ({"suite": "latency"}, ["vit-s", "vit-t"]),
        ({"backbone": "vit-*"}, ["vit-s", "vit-t"]),
        ({"backbone": "vit-s, rwkvsam-s"}, ["vit-s", "rwkvsam-s"]),
        ({"status": "oom,failed"}, ["vit-t"]),
        ({"suite": "sam-*", "status": "ok"}, ["rwkvsam-s"]),
        ({"suite": "none"}, []),
    ],
)
def test_filters(asked, found):
    assert [row.cell.backbone for row in select_rows(ROWS, **asked)] == found


def test_a_status_that_is_none_is_refused():
    with pytest.raises(UsageError, match="expected one of ok, oom"):
        select_rows(ROWS, status="good")


def test_csv_reads_back_flat(tmp_path):
    write_export(ROWS, tmp_path / "rows.csv", "csv")
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert list(frame["status"]) == ["ok", "oom", "ok"]
    assert frame["metrics.latency_ms"][0] == 1.0
    assert json.loads(frame["params.dataset_fingerprints"][2])["DIS"] == "a" * 64


def test_json_has_everything(tmp_path):
    write_export(ROWS, tmp_path / "rows.json", "json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [row.to_dict() for row in ROWS]


def test_parquet_or_what_it_needs(tmp_path):
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"linbench\[parquet\]"):
            write_export(ROWS, tmp_path / "rows.parquet", "parquet")
        assert not list(tmp_path.iterdir())
    else:
        write_export(ROWS, tmp_path / "rows.parquet", "parquet")
        assert list(pd.read_parquet(tmp_path / "rows.parquet")["key"]) == [row.cell.key for row in ROWS]


def test_no_rows_are_an_empty_frame_and_bad_places_one_line(tmp_path):
    assert len(rows_frame([])) == 0
    with pytest.raises(UsageError, match="csv, parquet, json"):
        write_export(ROWS, tmp_path / "rows.xls", "xls")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_export(ROWS, tmp_path / "file" / "rows.csv", "csv")


def aged(path):
    long_ago = time.time() - 2 * SETTLED_SECONDS
    os.utime(path, (long_ago, long_ago))
    return path


def test_garbage_is_what_newer_rows_supersede_and_nothing_else(tmp_path):
    store = Store(tmp_path)
    old = store.write(latency_row("vit-s", 512, 1.0))
    store.write(latency_row("vit-s", 512, 2.0))
    kept = store.write(latency_row("vit-t", 512, 1.0))
    store.write(latency_row("vit-t", 512, status="failed"))
    failed = store.write(latency_row("vit-b", 512, status="failed"))
    store.write(latency_row("vit-b", 512, status="oom"))
    other = store.write(latency_row("vit-s", 512, 1.0, device="GPU B"))
    found = find_garbage(store)
    assert {one.path for one in found} == {old, failed}
    remove(found)
    assert not old.exists()
    assert kept.exists()
    assert other.exists()
    assert find_garbage(store) == []


def test_another_installations_row_stands_for_none_of_this_one(tmp_path):
    Store(tmp_path, installation="mine").write(latency_row("vit-s", 512, 1.0))
    Store(tmp_path, installation="theirs").write(latency_row("vit-s", 512, 1.0))
    assert find_garbage(Store(tmp_path)) == []


def test_samples_go_with_their_row_and_loose_files_when_they_are_old(tmp_path):
    store = Store(tmp_path)
    row = latency_row("vit-s", 512, 1.0)
    row.samples = {"latency_ms": np.random.default_rng(0).random(4000).tolist()}
    first = store.write(row)
    store.write(row)
    side = first.with_name(first.name.replace(".json", ".samples.json.gz"))
    assert side.exists()
    loose = first.with_name("0123456789abcdef-x.samples.json.gz")
    loose.write_bytes(b"")
    part = first.with_name(".0123.part")
    part.write_bytes(b"")
    assert {one.path for one in find_garbage(store)} == {first, side}, "a run may be about to name the others"
    aged(loose), aged(part)
    assert {one.path for one in find_garbage(store)} == {first, side, loose, part}
    (first.parent / "foreign.json").write_text("{}")
    assert {one.path for one in find_garbage(store)} == {first, side, part}, "an unreadable row may name samples"


def test_a_picture_that_no_row_shows_is_garbage(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    mask = picture[..., 0] > 100
    name = save_tile(tmp_path, picture, "demo")
    assert name.startswith("demo-")
    assert save_tile(tmp_path, picture.copy(), "demo") == name
    assert (load_tile(tmp_path / "tiles", name) == picture).all()
    assert load_tile(tmp_path / "tiles", "demo-none") is None
    assert (unpack_mask(pack_mask(mask), (8, 12)) == mask).all()
    shown = Shown("DIS", "a.png", name, [0.0, 0.0, 3.0, 3.0], pack_mask(mask), pack_mask(mask), 1.0, 1.0)
    row = hq_row("rwkvsam-s", three(66, 55), samples=shown_samples([shown]))
    assert shown_of(row) == [shown]
    store = Store(tmp_path)
    store.write(row)
    aged(tmp_path / "tiles" / f"{name}.png")
    lost = aged(tmp_path / "tiles" / f"{save_tile(tmp_path, picture[::-1], 'demo')}.png")
    assert [one.path for one in find_garbage(store)] == [lost]
