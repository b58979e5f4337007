from linbench.results.schema import Cell, Row
from linbench.results.tabling.table2 import table2
from rows_for_tests import on


def data_row(name, images=10, masks=90, *, status="ok", data="demo", created="2026-01-01T00:00:00", **params):
    given = {"data": data, "title": name, "limit": None, "fingerprint": "ab12", **params}
    metrics = {"images": images - 1, "masks": masks - 30, "annotated_images": images, "annotated_masks": masks}
    error = None if status == "ok" else "the JSON is cut short"
    row = Row(Cell("data-stats", f"dataset:{name}", given), status, metrics if status == "ok" else {}, {}, on(), error)
    row.created_utc = created
    return row


def text(table, line, column):
    (found,) = [cells for cells in table.cells if cells[0] == line]
    return found[table.columns.index(column)]


def test_annotated_and_read_stand_beside_the_papers_counts():
    (table,) = table2(
        [data_row("coconut", 242_000, 2_780_123, data="real"), data_row("dis-tr", 3000, 3000, data="real")]
    )
    assert text(table, "coconut", ("", "in the paper")) == "COCONut-B"
    assert text(table, "coconut", ("masks", "paper")) == "2,780,000"
    assert text(table, "coconut", ("masks", "measured")) == "2,780,123"
    assert text(table, "coconut", ("masks", "delta")) == "+123"
    assert text(table, "coconut", ("masks", "read")) == "2,780,093"
    assert text(table, "dis-tr", ("images", "delta")) == "0"
    assert text(table, "EntitySeg", ("masks", "paper")) == "579,000"
    assert text(table, "EntitySeg", ("masks", "measured")) == "-"
    assert [line[0] for line in table.cells] == ["coconut", "EntitySeg", "dis-tr"]


def test_demo_data_are_named_and_no_difference_is_drawn():
    (table,) = table2([data_row("coconut")])
    assert "demo data" in table.caption
    assert text(table, "coconut", ("masks", "delta")) == "-"
    assert table.frame["masks_delta"].isna().all()


def test_real_and_demo_data_never_share_a_table():
    tables = table2([data_row("coconut"), data_row("coconut", 242_000, 2_780_000, data="real")])
    assert [len(table.cells) for table in tables] == [3, 3]
    assert {table.frame["data"][0] for table in tables} == {"demo", "real"}


def test_a_whole_count_goes_before_a_newer_one_of_a_part():
    whole = data_row("coconut", 20, 100, created="2026-01-01T00:00:00")
    part = data_row("coconut", 20, 50, limit=5, created="2026-02-01T00:00:00")
    (table,) = table2([part, whole])
    assert text(table, "coconut", ("masks", "measured")) == "100"
    (table,) = table2([part])
    assert "first 5 images" in table.caption


def test_a_set_that_cannot_be_read_keeps_its_line():
    (table,) = table2([data_row("entityseg", status="failed"), data_row("dis-tr")])
    assert text(table, "entityseg", ("masks", "measured")) == "fail"
    assert text(table, "entityseg", ("masks", "read")) == "fail"
    assert any("cut short" in note for note in table.notes)


def test_other_sets_follow_without_published_numbers():
    (table,) = table2([data_row("sa-1b"), data_row("coconut")])
    assert table.cells[-1][0] == "sa-1b"
    assert text(table, "sa-1b", ("images", "paper")) == "-"
