"""The report page in a headless Chromium: it loads, sorts, filters and tells where numbers come from."""

import pytest
from browser_for_tests import (
    DESKTOP,
    PHONE,
    By,
    Keys,
    Select,
    charts_drawn,
    choose,
    click,
    column,
    column_of,
    complaints,
    every,
    focus,
    one,
    open_table,
    point,
    press,
    show,
    value,
    wait,
)
from page_for_tests import COMMIT, few_rows, hostile_row, many_rows, page
from rows_for_tests import latency_row

OVERVIEW = "Latency over resolution"
MOST_SECONDS = 5
CONTRAST = """
const channel = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const light = (text) => {
  const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(channel);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  const colour = getComputedStyle(node).backgroundColor;
  return colour.endsWith(', 0)') ? ground(node.parentElement) : colour;
};
const kinds = 'main :is(p, td, th, button, label, summary, li, h2, .status, .count), nav a';
return [...document.querySelectorAll(kinds)]
  .filter((node) => node.textContent.trim() && node.checkVisibility() && !node.disabled)
  .map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), `${node.tagName}.${node.className} ${node.textContent.slice(0, 30)}`];
  })
  .sort((x, y) => x[0] - y[0])[0];
"""
UNNAMED = """
const named = (node) => node.getAttribute('aria-label') || node.labels?.length || node.alt || node.caption;
return [...document.querySelectorAll('button, input, select, img, table')]
  .filter((node) => !named(node) && !node.textContent.trim()).map((node) => node.outerHTML);
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_loads_without_complaints_and_fits_the_width(browser, few_page, size, theme):
    show(browser, few_page, size, theme)
    wait(browser, lambda: charts_drawn(browser))
    assert complaints(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert browser.execute_script("return document.documentElement.dataset.theme") == theme
    sections = [link.text for link in every(browser, "#sections a")]
    assert sections == ["Latency", "Trade-offs", "Tables", "Gallery", "All rows"]
    assert browser.execute_script(
        "const nav = document.querySelector('nav'); return nav.scrollWidth <= nav.clientWidth"
    )
    assert "no row of LinBench" in one(browser, "#problems").text
    assert "26 rows of latency, sam-hq" in one(browser, "#summary").text
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in fetched if not name.startswith(("file:", "data:"))] == []


def test_tables_of_one_title_are_told_apart_while_closed(browser, tmp_path):
    rows = [latency_row("vit-s", 512, 3.0, device=device) for device in ("CPU A", "GPU B")]
    show(browser, page(tmp_path, rows))
    heads = [head.text for head in every(browser, "details.table:not([open]) > summary") if OVERVIEW in head.text]
    assert len(heads) == 1, "the first table is open"
    assert "GPU B" in heads[0]
    assert "95 % interval" not in heads[0], "both captions say so"


def test_headers_sort_both_ways_with_what_is_missing_last(browser, few_page):
    show(browser, few_page)
    table = open_table(browser, OVERVIEW)
    assert column(table, 0) == ["rwkvsam-s", "vim-s", "vit-s"]
    head = table.find_elements(By.CSS_SELECTOR, "thead tr:last-child th")[5]
    wanted = {"ascending": ["rwkvsam-s", "vim-s", "vit-s"], "descending": ["vim-s", "rwkvsam-s", "vit-s"]}
    for direction, names in wanted.items():
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == direction
        assert column(table, 0) == names
        assert column(table, 5)[-1] == "OOM"
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert column(table, 0) == ["rwkvsam-s", "vim-s", "vit-s"]


def test_the_filter_takes_lines_with_all_words(browser, few_page):
    show(browser, few_page)
    grid = one(browser, "#rows-table")
    grid.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("VIT-S 1024")
    wait(browser, lambda: "1 of 26 lines" in grid.text)
    assert column(grid, 0) == ["vit-s"]
    Select(every(browser, "#rows-controls select")[1]).select_by_value("oom")
    wait(browser, lambda: "3 lines" in grid.text)
    assert column(grid, 3) == ["oom"] * 3


def test_provenance_on_hover(browser, few_page):
    show(browser, few_page)
    cell = value(open_table(browser, OVERVIEW), 1, 3).find_element(By.CSS_SELECTOR, ".value")
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", cell)
    point(browser, cell)
    wait(browser, lambda: one(browser, "#tip").is_displayed())
    told = one(browser, "#tip").text
    for fact in (
        "latency · vim-s",
        "Testor CPU 2000",
        f"{COMMIT[:12]}, with local changes",
        "torch 2.6.0",
        "2026-01-10",
    ):
        assert fact in told
    press(browser, Keys.ESCAPE)
    assert not one(browser, "#tip").is_displayed()


def test_provenance_by_keyboard(browser, few_page):
    show(browser, few_page)
    table = open_table(browser, OVERVIEW)
    focus(browser, value(table, 0, 1))
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert "latency · vim-s" in one(browser, "#tip").text
    active = browser.switch_to.active_element
    assert active.get_attribute("aria-describedby") == "tip"
    assert active.text == value(table, 1, 4).text
    assert len(table.find_elements(By.CSS_SELECTOR, ".value[tabindex='0']")) == 1, "one stop of the Tab key"
    press(browser, Keys.ENTER)
    record = one(browser, "#record")
    wait(browser, record.is_displayed)
    assert "Metrics, all digits" in record.text
    assert "dtype" in record.text
    assert not one(browser, "#tip").is_displayed()
    press(browser, Keys.ESCAPE)
    wait(browser, lambda: not record.is_displayed())
    assert browser.switch_to.active_element == active


def test_a_failure_tells_its_reason_and_a_paper_s_number_its_place(browser, few_page):
    show(browser, few_page)
    failed = value(open_table(browser, OVERVIEW), 2, 6)
    wait(browser, lambda: "CUDA out of memory" in told(browser, failed))
    masks = next(one for one in every(browser, "details.table") if "High-quality" in one.text)
    masks = open_table(browser, masks.find_element(By.CSS_SELECTOR, "h3").text)
    printed = value(masks, 0, column_of(masks, "DIS", "paper"))
    wait(browser, lambda: "arXiv 2406.19369, Table 3" in told(browser, printed))


def told(browser, cell):
    """What the page says of a value that has the keyboard; a scroll that ends late hides it again."""
    focus(browser, cell)
    return one(browser, "#tip").text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast(browser, few_page, theme):
    show(browser, few_page, theme=theme)
    ratio, where = browser.execute_script(CONTRAST)
    assert ratio >= 4.5, where


def test_text_of_rows_is_never_run(browser, tmp_path):
    text = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'`<b>"
    show(browser, page(tmp_path, [*few_rows(), hostile_row(text)], problems=[text]))
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.execute_script("[...document.querySelectorAll('#rows .value')].at(-1).click()")
    assert text in one(browser, "#record").text
    assert browser.execute_script(
        "return [window.hacked ?? null, document.querySelectorAll('main img[src=x]').length]"
    ) == [None, 0]
    assert complaints(browser) == []


def test_a_page_without_rows_says_what_to_run(browser, tmp_path):
    show(browser, page(tmp_path, []))
    assert "bench latency" in one(browser, "#summary").text
    assert [section for section in every(browser, "main > section") if section.is_displayed()] == []
    assert complaints(browser) == []


def test_tab_reaches_the_skip_link_first_and_everything_is_named(browser, few_page):
    show(browser, few_page)
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    assert one(browser, ".skip").rect["y"] >= 0
    assert browser.execute_script(UNNAMED) == []


def test_thousand_rows_load_at_once_and_turn_pages(browser, tmp_path, record_property):
    show(browser, page(tmp_path, many_rows()))
    wait(browser, lambda: charts_drawn(browser))
    seconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    record_property("seconds", seconds)
    assert 0 < seconds < MOST_SECONDS
    grid = one(browser, "#rows-table")
    assert "1,000 lines" in grid.text
    assert len(column(grid, 0)) == 50
    click(browser, "#rows-table .pager button", "Next")
    assert "Lines 51 to 100 of 1,000" in grid.text
    choose(browser, "#rows-table .pager select", 0, "all")
    assert len(grid.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1000
    assert complaints(browser) == []
