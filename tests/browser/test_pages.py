"""Every page in light and dark: shows the ward, breaks no rule of WCAG 2.2 A/AA that axe can check."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import LiveWard, open_page, save_screenshot

pytestmark = [pytest.mark.broker, pytest.mark.browser]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = ("ward", "patient", "commands", "alerts", "system")


def axe_violations(tab: Page) -> list[str]:
    """Each violation as a sentence with the first place it was found at."""
    found = Axe().run(tab, options={"runOnly": {"type": "tag", "values": TAGS}})
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {each['nodes'][0]['html'][:300]} "
        f"{each['nodes'][0].get('failureSummary', '')[:300]}"
        for each in found.response["violations"]
    ]


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[BrowserContext, str]]:
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=request.param)
    opened.set_default_timeout(45_000)
    yield opened, request.param
    opened.close()


def test_axe_finds_nothing_on_any_page(themed: tuple[BrowserContext, str], live_ward: LiveWard) -> None:
    context, theme = themed
    for page in PAGES:
        tab = open_page(context, live_ward.url, page)
        tab.wait_for_timeout(1500)
        assert tab.locator(".dt").get_attribute("data-theme") == theme
        assert tab.evaluate("document.documentElement.lang") == "en"
        save_screenshot(tab, f"{page}-{theme}")
        assert axe_violations(tab) == [], page
        tab.close()


def test_axe_finds_nothing_in_the_dialog_of_a_dose(context: BrowserContext, live_ward: LiveWard) -> None:
    with live_ward.lock:
        live_ward.ward.propose(live_ward.ward.beds[2], live_ward.event_s())
        live_ward.ward.flush()
    tab = open_page(context, live_ward.url, "commands")
    tab.locator("article.wait button.yes:visible").first.click()
    tab.wait_for_selector("dialog.ask[open]")
    save_screenshot(tab, "approve-dialog")
    assert axe_violations(tab) == []
    facts = tab.locator(".ask-facts").inner_text()
    for word in ("Patient", "Dose", "Version seen", "Expires"):
        assert word in facts


def test_the_ward_counts_every_patient_once(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = open_page(context, live_ward.url)
    tab.wait_for_function("document.querySelector('.dt') || true")
    counts = [int(each) for each in tab.locator(".count-n").all_inner_texts()]
    assert sum(counts) == 24
    assert tab.locator(".top-rows tr").count() == 20


def test_a_patients_value_moves(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = open_page(context, live_ward.url, "patient")
    value = tab.locator(".now-title + .big .v")
    expect(value).not_to_have_text(value.inner_text(), timeout=60_000)


def test_no_page_asks_another_host(context: BrowserContext, live_ward: LiveWard) -> None:
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(live_ward.url)
    tab.wait_for_selector('.dt[data-state="live"]', timeout=90_000)
    tab.wait_for_timeout(2000)
    strangers = [
        url for url in asked if not url.startswith((live_ward.url, "blob:", "data:", "ws://127.0.0.1"))
    ]
    assert strangers == []
