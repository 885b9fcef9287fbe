"""Everything by keyboard; a view that can be held; a view that is old never looks calm."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import LiveWard, open_page, save_screenshot, start_dashboard, stop_process

pytestmark = [pytest.mark.broker, pytest.mark.browser]


def focused(tab: Page) -> str:
    """The class names of what has the focus, inside a view's shadow tree too."""
    return str(
        tab.evaluate("""() => {
          let node = document.activeElement;
          while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
          return node ? node.className : '';
        }""")
    )


def test_from_the_ward_to_a_patients_past_by_keyboard(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = open_page(context, live_ward.url)
    for _ in range(60):
        tab.keyboard.press("Tab")
        if "ward-list" in focused(tab):
            break
    assert "ward-list" in focused(tab), "the ward cannot be reached by Tab"
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    described = tab.locator("#ward-active").inner_text()
    tab.keyboard.press("Enter")
    tab.wait_for_selector('.dt[data-page="patient"] .place')
    tab.wait_for_function(f"location.search.includes('patient={described[:8]}')")
    cursor = tab.locator(".chart-focus")
    cursor.focus()
    now = cursor.get_attribute("aria-valuetext")
    for _ in range(10):
        tab.keyboard.press("ArrowLeft")
    assert cursor.get_attribute("aria-valuetext") != now
    assert "At" in tab.locator(".readout").inner_text()
    tab.keyboard.press("Escape")
    assert "Now" in tab.locator(".readout").inner_text()


def test_a_held_view_stands_still_and_says_so(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = open_page(context, live_ward.url, "patient")
    tab.locator(".hold").click()
    before = tab.locator(".t-rows").inner_text()
    tab.wait_for_timeout(4000)
    assert tab.locator(".t-rows").inner_text() == before
    assert "HELD for" in tab.locator(".age").inner_text()
    assert "newest reading" in tab.locator(".age").inner_text()
    tab.locator(".hold").click()
    tab.wait_for_timeout(2500)
    assert tab.locator(".t-rows").inner_text() != before
    assert "HELD" not in tab.locator(".age").inner_text()


def test_a_silent_ward_does_not_look_calm(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = open_page(context, live_ward.url)
    live_ward.writing.clear()
    try:
        tab.wait_for_selector('.dt[data-state="trouble"]', timeout=60_000)
        assert "No reading from any device for" in tab.locator(".trouble").inner_text()
        save_screenshot(tab, "silent-ward")
        tab.goto(f"{live_ward.url}/commands")
        tab.wait_for_selector('.dt[data-page="commands"][data-state="trouble"]')
    finally:
        live_ward.writing.set()
    tab.wait_for_selector('.dt[data-state="live"]', timeout=60_000)


def test_a_dashboard_that_ends_leaves_no_calm_page(
    context: BrowserContext, live_ward: LiveWard, tmp_path: Path
) -> None:
    process, url, log = start_dashboard(live_ward.settings, tmp_path)
    tab = open_page(context, url)
    assert stop_process(process) == 0, log.read_text()[-2000:]
    tab.wait_for_selector('.dt[data-state="trouble"]', timeout=60_000)
    assert "No news from the dashboard's server" in tab.locator(".trouble").inner_text()
