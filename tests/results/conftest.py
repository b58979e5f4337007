import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One headless Chromium for all tests of the report page."""
    from browser_for_tests import open_browser

    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="session")
def few_page(tmp_path_factory):
    """The page of a few rows, with a contact sheet inside and one beside it."""
    from page_for_tests import draw_sheet, few_rows, hold_predictions, page

    folder = tmp_path_factory.mktemp("few")
    draw_sheet(folder, "rwkvsam-s-demo-trained")
    draw_sheet(folder, "vit-s-real-trained")
    rows = few_rows()
    hold_predictions(folder, [row for row in rows if row.cell.suite == "sam-hq"])
    return page(folder, rows, problems=["runs/latency/vit-s/1.json: no row of LinBench"])
