import re
from pathlib import Path

import pytest
from linbench.results import published
from linbench.results.published import load_published

SHARED = Path(__file__).parents[3] / "shared"
FACTORS = {"K": 1e3, "k": 1e3, "M": 1e6}
# Where a printed table begins, and which of its columns belong to which of ours.
PRINTED = {
    "table2": ("Datasets\t#Images", None),
    "table3": ("\t#Param\tFPS\tmAP", None),
    "table4": ("Method\tBlock\tEmb Dim", slice(2, None)),
    "table5": ("Backbone\tDecoder", slice(2, None)),
    "table6-decoder": ("Method\tFPS\tDIS", slice(1, 5)),
    "table6-encoder": ("Method\tFPS\tDIS", slice(6, 9)),
    "table7": ("Method\tDIS\tCOIFT\tHRSD", None),
}


def shared_text(*parts):
    path = SHARED.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"{'/'.join(parts)} is not beside this checkout")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def paper():
    return shared_text("paper", "rwkvsam.txt")


def printed(cell, column):
    """A printed number; millions stay as they are where the column is in millions."""
    value = float(cell.rstrip("KkM"))
    return value if column == "params_m" or cell[-1].isdigit() else value * FACTORS[cell[-1]]


def plain(cell):
    return re.sub(r" \[\d+\]", "", cell)


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_is_the_papers_cell_by_cell(paper, name):
    start, columns = PRINTED[name]
    columns = columns or slice(1, None)
    table = load_published()[name]
    lines = paper.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.startswith(start))
    header = lines[heading].split("\t")[columns]
    assert [title.rpartition("/")[2] for title in table.columns.values()] == header
    body = [line.split("\t") for line in lines[heading + 1 : heading + 1 + len(table.rows)]]
    assert lines[heading + 1 + len(table.rows)] == "", "every printed row is there"
    for row, cells in zip(table.rows, body, strict=True):
        assert plain(cells[columns.start - 1] if name.startswith("table6") else cells[0]) == row.label
        values = [printed(cell, column) for cell, column in zip(cells[columns], table.columns, strict=True)]
        assert [row.values[column] for column in table.columns] == values


def test_table1_is_the_papers_cell_by_cell(paper):
    table = load_published()["table1"]
    lines = paper.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.startswith("Stage\tStride"))
    assert [row.label for row in table.rows] == [cell for cell in lines[heading].split("\t")[2:] if cell]
    for line in lines[heading + 2 : heading + 5]:
        stage, stride, *counts = [cell for cell in line.split("\t") if cell]
        for row, (blocks, channels) in zip(table.rows, zip(counts[::2], counts[1::2], strict=True), strict=True):
            found = [row.values[f"stage{stage}/{name}"] for name in ("stride", "blocks", "channels")]
            assert found == [int(stride), int(blocks), int(channels)]
    params = [cell for cell in lines[heading + 5].split("\t")[1:] if cell]
    assert [row.values["params_m"] for row in table.rows] == [float(cell.rstrip("M")) for cell in params]


def test_figure3s_numbers_are_those_of_the_text(paper):
    vit, rwkv = load_published()["figure3"].rows
    at_512 = re.search(
        r"with 512x512 image as input, ViT-Small is ([\d.]+) FPS and RWKV-SAM-Small is ([\d.]+) FPS", paper
    )
    assert at_512, "the paper's sentence on 512x512 is not where it was"
    assert (vit.values["512/fps"], rwkv.values["512/fps"]) == tuple(map(float, at_512.groups()))
    at_1024 = re.search(r"significantly higher FPS \(([\d.]+)\) than ViT-Small \(([\d.]+)\)", paper)
    assert (rwkv.values["1024/fps"], vit.values["1024/fps"]) == tuple(map(float, at_1024.groups()))
    sizes = re.search(r"\(ViT-Small: ([\d.]+)M, RWKV-SAM-S: ([\d.]+)M\)", paper)
    assert (vit.values["params_m"], rwkv.values["params_m"]) == tuple(map(float, sizes.groups()))


def test_figure1s_numbers_are_those_of_the_text(paper):
    sam, efficient = (row.values["speed_up"] for row in load_published()["figure1"].rows)
    assert f"about 1/{sam} of the inference time of SAM" in paper
    assert f"runs more than {efficient}x faster" in paper


def test_sam_lightening_is_as_in_its_abstract():
    text = shared_text("paper", "sam-lightening.txt")
    values = load_published()["sam-lightening"].rows[0].values
    assert f"{values['latency_ms']} milliseconds (ms) per image, for images of size 1024*1024" in text
    assert f"{values['speed_up_sam']} times faster than the vanilla SAM and {values['speed_up_best']} times" in text
    assert f"{values['memory_mb']}MB memory, which is {values['memory_percent']}\\%" in text


def test_efficientvmamba_is_as_in_its_abstract_and_listing():
    text = shared_text("paper", "efficientvmamba.txt")
    ours, vim = (row.values["gflops"] for row in load_published()["efficientvmamba"].rows)
    assert f"EfficientVMamba-S with ${ours}$G FLOPs improves Vim-Ti with ${vim}$G FLOPs" in text
    large, small = (row.values for row in load_published()["efficientvmamba-results"].rows)
    assert re.findall(r"mIoU([\d.]+)", text) == [str(large["ADE20K/miou"]), str(small["ADE20K/miou"])]
    assert set(re.findall(r"Top-1 Acc(?:uracy)? ?([\d.]+)", text)) == {str(large["ImageNet/top1"])}
    assert f"AP (Box){large['COCO/box_ap']}" in text
    assert f"APm{large['COCO/mask_ap']}" in text


def test_hq_sams_table_is_that_of_its_readme():
    text = shared_text("specs", "sam.md")
    for row in load_published()["hq-sam"].rows:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {row.label} |")]
        assert [float(number) for number in re.findall(r"\d+\.\d", line)] == list(row.values.values())


def test_every_table_says_where_it_stands_and_every_row_has_numbers_of_it():
    for name, table in load_published().items():
        assert re.fullmatch(r"\d{4}\.\d{5}", table.paper.arxiv)
        assert table.source
        for row in table.rows:
            assert row.values
            assert set(row.values) <= set(table.columns)
            assert table.row(row.names[0]) is row
            assert name.startswith("efficientvmamba-") or name == "figure1" or row.run.startswith("bench "), row
    assert load_published()["table3"].row("no-such-model") is None
    assert "ViT-L" in load_published()["table3"].row("samvit-h").caveats[0]
    assert "300" in load_published()["table4"].row("vim-s").caveats[0]


def test_a_column_that_the_table_lacks_is_an_error(tmp_path, monkeypatch):
    text = published.PUBLISHED_FILE.read_text(encoding="utf-8").replace("params_m = 5.0\n", "x = 5.0\n")
    (tmp_path / "published.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(published, "PUBLISHED_FILE", tmp_path / "published.toml")
    with pytest.raises(ValueError, match="table1"):
        load_published.__wrapped__()
