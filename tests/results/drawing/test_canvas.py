import numpy as np
import pytest
from linbench.results.drawing.canvas import label_decades, legend_below, open_figure
from linbench.results.drawing.figure1 import figure1
from linbench.results.drawing.plots import Plot, save_plots
from PIL import Image
from rows_for_tests import hq_row, latency_row, texts, three


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.9), (10, 56), (800, 2900), (0.83, 0.84), (0.2, 40), (0.01, 9e4)])
def test_a_logarithmic_axis_shows_some_numbers_and_not_too_many(low, high):
    with open_figure(1, width=3.3, height=2) as (figure, (ax,)):
        ax.loglog([low, high], [low, high])
        label_decades(ax.yaxis)
        figure.draw_without_rendering()
        bottom, top = ax.get_ylim()
        shown = [place for place in ax.get_yticks() if bottom <= place <= top]
        words = [tick.get_text() for tick in ax.get_yticklabels()]
    assert 3 <= len(shown) <= 9
    assert len(set(words)) == len(words)


def drawn(ax, name="a line"):
    ax.plot([1, 2], [1, 2], label=name)


@pytest.mark.parametrize(("count", "names", "width"), [(1, ["a.png"], 990), (5, ["a.png", "a-2.png"], 2070)])
def test_no_figure_is_larger_than_a_page(tmp_path, count, names, width):
    paths = save_plots([Plot(drawn, 2.5, 1.0)] * count, tmp_path, "a", title="all", legend=["a line", "not drawn"])
    pngs = [path for path in paths if path.suffix == ".png"]
    assert [path.name for path in pngs] == names
    for path in pngs:
        with Image.open(path) as picture:
            assert picture.width == width
            assert picture.height <= 2700
    said = texts(paths[1])
    assert said.count("a line") == 1, "one legend for all panels"
    assert "not drawn" not in said


def test_legends_show_lines_without_error_bars():
    with open_figure(1, width=3.3, height=2) as (_, (ax,)):
        ax.errorbar([1, 2], [1, 2], yerr=[0.1, 0.1], label="a", marker="o", capsize=2)
        ax.scatter([1], [1], label="b")
        legend = legend_below(ax)
        assert {type(handle).__name__ for handle in legend.legend_handles} == {"Line2D", "PathCollection"}


def test_a_system_looks_alike_in_the_papers_panel_and_the_measured(tmp_path):
    eighth = "#8c8c00"
    rows = [hq_row("vmamba-s", three(60, 50)), latency_row("vmamba-s", 1024, 25.0)]
    assert eighth not in figure1(rows, tmp_path)[1].read_text().lower(), "the paper has seven systems, this is one"
    rows += [hq_row("vit-s", three(60, 50)), latency_row("vit-s", 1024, 25.0)]
    assert eighth in figure1(rows, tmp_path)[1].read_text().lower()


def test_figures_are_told_apart_without_colour(tmp_path):
    from linbench.results.drawing.canvas import line_style

    looks = [(style["marker"], style["linestyle"]) for style in map(line_style, range(8))]
    assert len(set(looks)) == 8
    assert np.unique([style["color"] for style in map(line_style, range(8))]).size == 8
