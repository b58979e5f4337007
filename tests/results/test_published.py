import re
from pathlib import Path

import pytest
from linbench.results import published
from linbench.results.published import load_published

PAPER = Path(__file__).parents[3] / "shared" / "paper" / "rwkvsam.txt"


@pytest.fixture(scope="module")
def paper():
    if not PAPER.is_file():
        pytest.skip("the paper's text is not beside this checkout")
    return PAPER.read_text(encoding="utf-8")


def test_table3_is_the_papers_cell_by_cell(paper):
    table = load_published()["table3"]
    lines = paper.splitlines()
    headings = next(index for index, line in enumerate(lines) if line.startswith("\t#Param\tFPS\tmAP"))
    header = lines[headings].split("\t")[1:]
    assert [title.split("/")[1] for title in table.columns.values()] == header
    printed = [line.split("\t") for line in lines[headings + 1 : headings + 1 + len(table.rows)]]
    assert lines[headings + 1 + len(table.rows)] == ""
    for row, cells in zip(table.rows, printed, strict=True):
        assert re.sub(r" \[\d+\]", "", cells[0]) == row.label
        values = [float(cell.rstrip("M")) for cell in cells[1:]]
        assert [row.values[column] for column in table.columns] == values


def test_table1_is_the_papers(paper):
    table = load_published()["table1"]
    line = next(line for line in paper.splitlines() if line.startswith("#Param\t") and "78.7M" in line)
    assert [row.values["params_m"] for row in table.rows] == [
        float(cell.rstrip("M")) for cell in line.split("\t")[1:] if cell
    ]
    heads = next(line for line in paper.splitlines() if line.startswith("Stage\tStride"))
    assert [row.label for row in table.rows] == [cell for cell in heads.split("\t")[2:] if cell]


def test_figure3s_numbers_are_those_of_the_text(paper):
    vit, rwkv = load_published()["figure3"].rows
    at_512 = re.search(
        r"with 512x512 image as input, ViT-Small is ([\d.]+) FPS and RWKV-SAM-Small is ([\d.]+) FPS", paper
    )
    assert at_512, "the paper's sentence on 512x512 is not where it was"
    assert (vit.values["512/fps"], rwkv.values["512/fps"]) == tuple(map(float, at_512.groups()))
    at_1024 = re.search(r"significantly higher FPS \(([\d.]+)\) than ViT-Small \(([\d.]+)\)", paper)
    assert (rwkv.values["1024/fps"], vit.values["1024/fps"]) == tuple(map(float, at_1024.groups()))


def test_every_table_says_where_it_stands_and_every_row_is_complete():
    for table in load_published().values():
        assert re.fullmatch(r"\d{4}\.\d{5}", table.paper.arxiv)
        assert table.source
        for row in table.rows:
            assert set(row.values) == set(table.columns)
            assert table.row(row.names[0]) is row
    assert load_published()["table3"].row("no-such-model") is None
    assert "ViT-L" in load_published()["table3"].row("samvit-h").caveats[0]


def test_a_column_that_the_table_lacks_is_an_error(tmp_path, monkeypatch):
    text = published.PUBLISHED_FILE.read_text(encoding="utf-8").replace(
        "values = { params_m = 5.0 }", "values = { x = 5.0 }"
    )
    (tmp_path / "published.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(published, "PUBLISHED_FILE", tmp_path / "published.toml")
    with pytest.raises(ValueError, match="table1"):
        load_published.__wrapped__()
