"""A trial's report in a real browser: axe finds nothing, and nothing hangs out of a phone's width."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext

from tests.browser.conftest import save_screenshot
from tests.twins.trials.test_report import page_of

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_is_accessible_and_fits(context: BrowserContext, tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_of(challenges=("", "wrong-weight")), encoding="utf-8")
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(file.as_uri())
    found = Axe().run(tab)
    assert not found.response["violations"], found.generate_report()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    save_screenshot(tab, f"trial-report-{width}")
