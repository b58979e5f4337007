"""A headless Chromium, and what the tests of the report page do with it."""

import contextlib
import os
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402, F401
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

DESKTOP, PHONE = (1280, 900), (390, 844)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900")


@contextlib.contextmanager
def open_browser(profile):
    """A headless Chromium of the system; skips the test where there is none."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with its driver here; Debian's packages are chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver, env={**os.environ, "HOME": str(profile)}))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser, path, size=DESKTOP, theme="light"):
    """Open a page of a size as a device that prefers a theme, with what was clicked before forgotten."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    features = {"features": [{"name": "prefers-color-scheme", "value": theme}, still]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(path.as_uri())
    browser.execute_script("localStorage.clear()")
    point(browser, (1, 1))  # off what the last test pointed at, which would tell in place of what is focused


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def one(browser, css):
    return browser.find_element(By.CSS_SELECTOR, css)


def every(browser, css):
    return browser.find_elements(By.CSS_SELECTOR, css)


def wait(browser, condition):
    return WebDriverWait(browser, 30).until(lambda _: condition())


def charts_drawn(browser):
    # Bokeh draws into shadow roots; a view is idle when all of it is on the canvas.
    return browser.execute_script("return Bokeh.documents.length >= 2 && Bokeh.documents.every((one) => one.is_idle)")


def open_table(browser, title):
    table = next(
        one for one in every(browser, "details.table") if one.find_element(By.CSS_SELECTOR, "h3").text == title
    )
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", table)
    if not table.get_attribute("open"):
        table.find_element(By.CSS_SELECTOR, "summary").click()
    wait(browser, lambda: table.find_elements(By.CSS_SELECTOR, "tbody tr"))
    return table


def column(table, index):
    return [
        row.find_elements(By.CSS_SELECTOR, "th, td")[index].text
        for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
    ]


def value(table, row, index):
    return table.find_elements(By.CSS_SELECTOR, "tbody tr")[row].find_elements(By.CSS_SELECTOR, "th, td")[index]


def column_of(table, group, name):
    label = f"{group} {name}"
    heads = table.find_elements(By.CSS_SELECTOR, "thead tr:last-child th button")
    return next(index for index, head in enumerate(heads) if head.get_attribute("aria-label") == label)


def point(browser, node):
    """Move the mouse onto a node, or to a place `(x, y)` on the screen."""
    actions = ActionChains(browser)
    if isinstance(node, tuple):
        actions.w3c_actions.pointer_action.move_to_location(*map(round, node))
    else:
        actions.move_to_element(node)
    actions.perform()


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def focus(browser, cell):
    """Give the keyboard to the value in a cell, where it is on the screen already."""
    browser.execute_script("document.activeElement.blur(); arguments[0].scrollIntoView({ block: 'center' })", cell)
    browser.execute_script("arguments[0].focus({ preventScroll: true })", cell.find_element(By.CSS_SELECTOR, ".value"))


def click(browser, css, text):
    """Click the one of these that has this text."""
    found = next(node for node in every(browser, css) if node.text == text)
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    found.click()


def choose(browser, css, index, text):
    """Choose the first option that holds `text` in one of these fields."""
    select = Select(every(browser, css)[index])
    select.select_by_visible_text(next(option.text for option in select.options if text in option.text))
