"""The gallery of the report page in a headless Chromium: slider, zoom, systems on one image, linked pictures."""

import io

import pytest
from browser_for_tests import DESKTOP, PHONE, By, Keys, choose, click, column, complaints, every, one, show, wait
from page_for_tests import draw_sheet, few_rows, hold_predictions, page
from PIL import Image

CUT = "return getComputedStyle(document.querySelector('.layer + .layer')).clipPath"
LOADED = "return [...document.querySelectorAll('.layer img')].every((one) => one.complete && one.naturalWidth > 0)"
# A pixel of the left and of the right layer, at a place given in parts of the picture.
PIXELS = """
const [x, y] = arguments;
return [...document.querySelectorAll('.layer canvas')].map((canvas) =>
  [...canvas.getContext('2d').getImageData(canvas.width * x, canvas.height * y, 1, 1).data]);
"""
SHEET = "contact sheet rwkvsam-s-demo-trained"


def show_sheet(browser, path, name, size=DESKTOP):
    show(browser, path, size)
    choose(browser, "#gallery-controls select", 0, name)


def alts(browser):
    return [image.get_attribute("alt") for image in every(browser, ".layer img")]


def colour_on_screen(browser, x):
    """Half-way down the picture; a page from a file may draw a linked picture, but scripts may not read it back."""
    with Image.open(io.BytesIO(one(browser, ".stage").screenshot_as_png)) as shot:
        return shot.convert("RGB").getpixel((int(shot.width * x), shot.height // 2))


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_slider_uncovers_the_truth_and_zoom_enlarges(browser, few_page, size):
    show_sheet(browser, few_page, SHEET, size)
    assert alts(browser) == ["prediction: DIS 3.png", "truth: DIS 3.png"]
    slider, zoom = every(browser, "#gallery-view input[type=range]")
    assert browser.execute_script(CUT) == "inset(0px 0px 0px 50%)"
    slider.send_keys(*[Keys.ARROW_LEFT] * 20)
    assert browser.execute_script(CUT) == "inset(0px 0px 0px 30%)"
    assert "truth on the right" in slider.get_attribute("aria-valuetext")
    before = one(browser, ".stage").size["width"]
    zoom.send_keys(*[Keys.ARROW_RIGHT] * 4)
    assert one(browser, ".stage").size["width"] == pytest.approx(2 * before, rel=0.03), "but for a scroll bar"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    choose(browser, "#gallery-view select", 0, "image")
    assert alts(browser)[0] == "image: DIS 3.png"
    click(browser, "#gallery-controls button", "Next")
    assert "DIS 8.png" in one(browser, "#gallery-view figcaption").text
    assert complaints(browser) == []


def test_a_linked_picture_is_found_beside_the_page(browser, few_page):
    show_sheet(browser, few_page, "contact sheet vit-s-real-trained")
    wait(browser, lambda: browser.execute_script(LOADED))
    assert "keep figures/ beside it" in one(browser, "#gallery-view").text
    assert complaints(browser) == []


def test_systems_are_compared_on_one_image(browser, few_page):
    show(browser, few_page)
    sides = [select.text.split("\n") for select in every(browser, "#gallery-view select")]
    names = [name.strip() for name in sides[0]]
    assert names[:3] == ["image", "box", "truth"]
    assert [name.split(" ")[0] for name in names[3:]] == ["rwkvsam-s", "vim-s", "vit-s", "vmamba-s"]
    grey, blue = (0.05, 0.05), (0.5, 0.5)
    wait(browser, lambda: all(pixel[3] for pixel in browser.execute_script(PIXELS, *grey)))
    for red, green, other, _ in browser.execute_script(PIXELS, *grey):
        assert max(red, green, other) - min(red, green, other) <= 2, "grey outside the masks"
    (left, right) = browser.execute_script(PIXELS, *blue)
    assert left[0] > left[2], "predictions are orange"
    assert right[2] > right[0], "the truth is blue"
    choose(browser, "#gallery-view select", 0, "vmamba-s")
    wait(browser, lambda: browser.execute_script(PIXELS, 0.3, 0.5)[0][3])
    (left, right) = browser.execute_script(PIXELS, 0.3, 0.5)
    assert right[2] > right[0]
    assert abs(left[0] - left[2]) <= 2, "its mask lies twelve pixels further to the right"
    assert column(one(browser, "#gallery-view .grid"), 1) == ["0.750"] * 4


def test_photographs_stay_out_of_the_page_and_a_missing_one_is_told(browser, tmp_path):
    rows = few_rows()
    hold_predictions(tmp_path, [row for row in rows if row.cell.suite == "sam-hq"], kind="real")
    path = page(tmp_path, rows)
    show(browser, path)
    wait(browser, lambda: colour_on_screen(browser, 0.45)[0] > colour_on_screen(browser, 0.45)[2] + 50)
    assert colour_on_screen(browser, 0.55)[2] > colour_on_screen(browser, 0.55)[0] + 50
    assert "keep tiles/ beside it" in one(browser, "#gallery-view").text
    for tile in (tmp_path / "tiles").glob("*.png"):
        tile.unlink()
    show(browser, path)
    wait(browser, lambda: every(browser, "#gallery-view .layer .notice"))
    assert "This picture is not there: tiles/real-" in one(browser, "#gallery-view .layer .notice").text
    assert "not there" not in page(tmp_path, rows).read_text(encoding="utf-8").split("</script>")[0]


def test_a_sheet_without_places_is_shown_whole(browser, tmp_path):
    path = draw_sheet(tmp_path, "vim-s-demo-trained")
    with Image.open(path) as picture:
        picture.convert("RGB").save(path)
    show(browser, page(tmp_path, few_rows()))
    assert "shown whole" in one(browser, "#gallery-view figcaption").text
    assert one(browser, "#gallery-view img").is_displayed()
    assert len(one(browser, "#gallery-view").find_elements(By.CSS_SELECTOR, "input[type=range]")) == 1
