"""The charts of the report page in a headless Chromium: what they draw, tell and let choose."""

import pytest
from browser_for_tests import By, charts_drawn, choose, column, every, one, point, show, wait
from page_for_tests import COMMIT, measured, page
from rows_for_tests import latency_row

VIEWS = """
const [chart, column, text] = arguments;
const holder = document.querySelector(chart);
const views = Bokeh.index.roots.filter((view) => holder.contains(view.el));
const renderers = (view) => view.model.renderers ?? [];
const drawn = views.flatMap((view) => renderers(view).map((one) => [view, one.data_source.data]));
"""
COUNT = VIEWS + "return Math.max(0, ...drawn.map(([, data]) => (data.head ?? []).length));"
PLACE = (
    VIEWS
    + """
for (const [view, data] of drawn) {
  const index = (data.head ?? []).findIndex((head) => head.startsWith(text));
  const box = view.el.getBoundingClientRect();
  const { x_scale, y_scale } = view.frame;
  if (index >= 0) return [box.left + x_scale.compute(data.x[index]), box.top + y_scale.compute(data.y[index])];
}
"""
)
# Bokeh shows what is under the pointer in a shadow root.
TOLD = """
const texts = [];
const walk = (root) => {
  for (const node of root.querySelectorAll('*')) {
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.tagName === 'DL') texts.push(node.parentNode.parentNode.textContent);
  }
};
for (const node of document.querySelectorAll('main .bk-Tooltip, body > *')) {
  if (node.shadowRoot) walk(node.shadowRoot);
}
walk(document.querySelector('#latency-chart .canvas'));
return texts.join('|');
"""
BACKGROUNDS = """
const chart = Bokeh.index.roots.find((view) => document.querySelector('#latency-chart').contains(view.el));
return [getComputedStyle(document.body).backgroundColor, chart?.model.background_fill_color];
"""


@pytest.fixture
def charts(browser, few_page):
    show(browser, few_page)
    wait(browser, lambda: charts_drawn(browser))
    return browser


def test_points_tell_on_hover_and_open_on_click(charts):
    charts.execute_script("document.querySelector('#latency-chart').scrollIntoView({ block: 'center' })")
    for text, fact in (("vim-s, 1024", "56 ms"), ("vit-s, 2048", "OOM")):
        place = charts.execute_script(PLACE, "#latency-chart", "head", text)
        point(charts, tuple(place))
        wait(charts, lambda fact=fact: fact in charts.execute_script(TOLD))
        assert COMMIT[:12] in charts.execute_script(TOLD)
    charts.execute_cdp_cmd(
        "Input.dispatchMouseEvent",
        {"type": "mousePressed", "x": place[0], "y": place[1], "button": "left", "clickCount": 1},
    )
    charts.execute_cdp_cmd(
        "Input.dispatchMouseEvent",
        {"type": "mouseReleased", "x": place[0], "y": place[1], "button": "left", "clickCount": 1},
    )
    wait(charts, lambda: one(charts, "#record").is_displayed())
    assert "CUDA out of memory" in one(charts, "#record").text


def test_the_legend_hides_a_line_and_the_table_has_all_points(charts):
    chart = one(charts, "#latency-chart")
    assert "grows as tokens^2.00" in chart.find_element(By.CSS_SELECTOR, ".legend").text
    assert charts.execute_script(COUNT, "#latency-chart") == 18
    chart.find_elements(By.CSS_SELECTOR, ".legend input")[0].click()
    wait(charts, lambda: charts.execute_script(COUNT, "#latency-chart") == 11)
    chart.find_element(By.CSS_SELECTOR, "summary").click()
    wait(charts, lambda: len(chart.find_elements(By.CSS_SELECTOR, "tbody tr")) == 21)
    assert column(chart, 2).count("OOM") == 3


def test_lines_beyond_the_palette_have_looks_of_their_own(browser, tmp_path):
    rows = [measured(latency_row("vim-s", 512, 5.0 + seed, variant=seed)) for seed in range(11)]
    show(browser, page(tmp_path, rows))
    wait(browser, lambda: charts_drawn(browser))
    looks = [(swatch.text, swatch.get_attribute("style")) for swatch in every(browser, "#latency-chart .swatch")]
    assert len(looks) == len(set(looks)) == 11


def test_axes_are_chosen_and_join_suites(charts):
    chart = one(charts, "#tradeoff")
    selects = "#tradeoff-controls select"
    choose(charts, selects, 0, "latency: latency (ms)")
    choose(charts, selects, 1, "res 1024")
    choose(charts, selects, 2, "sam-hq: mIoU (%)")
    assert "res 1024" in chart.find_element(By.CSS_SELECTOR, ".note").text
    chart.find_element(By.CSS_SELECTOR, "#tradeoff-chart summary").click()
    wait(charts, lambda: chart.find_elements(By.CSS_SELECTOR, "tbody tr"))
    lines = zip(*(column(chart, index) for index in range(3)), strict=True)
    points = {name.split(" ")[0]: values for name, *values in lines}
    assert points == {"rwkvsam-s": ["36", "84.5"], "vim-s": ["56", "81.25"], "vit-s": ["192", "80.13"]}
    choose(charts, selects, 1, "res 2048")
    wait(charts, lambda: "vit-s" not in chart.find_element(By.CSS_SELECTOR, ".legend").text)


def test_only_backbones_with_both_values_are_points(charts):
    selects = "#tradeoff-controls select"
    choose(charts, selects, 0, "latency: latency (ms)")
    choose(charts, selects, 1, "res 2048")
    choose(charts, selects, 2, "sam-hq: mIoU (%)")
    assert [box.text.split()[-1] for box in every(charts, "#tradeoff-chart .legend label")] == ["rwkvsam-s", "vim-s"]


def test_dark_mode_by_choice_is_kept_and_redraws_the_charts(charts):
    before = charts.execute_script(BACKGROUNDS)
    button = one(charts, "#theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait(charts, lambda: charts.execute_script(BACKGROUNDS)[1] not in (None, before[1]))
    assert charts.execute_script(BACKGROUNDS)[0] != before[0]
    charts.refresh()
    assert charts.execute_script("return document.documentElement.dataset.theme") == "dark"
