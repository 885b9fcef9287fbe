"""The whole platform, as a newcomer starts it, seen through a browser: nothing in between is made up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import address, save_screenshot, stop_process, wait_for_url
from tests.browser.test_pages import PAGES, axe_violations
from tests.browser.test_stillness import WATCH

pytestmark = [pytest.mark.broker, pytest.mark.browser, pytest.mark.timeout(900)]
STARTS_WITHIN_S = 150.0
DEMO = ("--patients", "24", "--mode", "mixed", "--no-open", "--port-dashboard", "0")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[str]:
    """`dosetwin demo` in a child process; the address of its dashboard."""
    folder = tmp_path_factory.mktemp("demo")
    log = folder / "demo.log"
    dosetwin = Path(sys.executable).with_name("dosetwin")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(dosetwin), "demo", *DEMO, "--data-dir", str(folder / "data")],
            stdout=out, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        yield wait_for_url(process, log, STARTS_WITHIN_S)
    finally:
        stop_process(process)


def live(context: BrowserContext, url: str, page: str) -> Page:
    tab = context.new_page()
    tab.goto(address(url, page))
    tab.wait_for_selector(f'.dt[data-page="{page}"][data-state="live"]', timeout=120_000)
    return tab


def approve_one(tab: Page) -> tuple[str, str]:
    """Approve the proposal with the most time left; its patient and what was approved.

    In a fast demo a proposal may expire under the hand; the server then says so, and the next is tried.
    """
    for _ in range(8):
        approve = tab.locator("article.wait button.yes:visible").last
        approve.wait_for(timeout=280_000)
        approve.click()
        tab.locator("dialog.ask[open]").wait_for()
        facts = tab.locator(".ask-facts dd").all_inner_texts()
        tab.locator("#ask-reason").fill("agreed at the bedside")
        tab.locator(".ask-confirm").click()
        notice = tab.locator(".notice").last
        notice.wait_for()
        if "Approved. Signed and written" in notice.inner_text():
            return facts[0], facts[2]
        tab.wait_for_timeout(1500)
    pytest.fail(f"no approval was taken: {tab.locator('.notice').all_inner_texts()}")


def test_a_clinician_watches_approves_and_sees_the_device_obey(context: BrowserContext, demo: str) -> None:
    tabs = {page: live(context, demo, page) for page in PAGES}

    ward = tabs["ward"]
    expect(ward.locator(".f-shown")).to_have_text("24 patients", timeout=280_000)
    ward.wait_for_function(
        "words => [...document.querySelectorAll('*')].some((e) => e.shadowRoot && "
        "[...e.shadowRoot.querySelectorAll('.top-rows tr')].some((row) => row.textContent.includes(words)))",
        arg="mg/dL",
        timeout=280_000,
    )

    patient = tabs["patient"]
    insulin = ward.locator(".top-rows tr", has_text="mg/dL").first.locator("button.open")
    identity = insulin.get_attribute("title")
    patient.goto(f"{demo}/patient?patient={identity}")
    patient.wait_for_selector(f'.dt[data-page="patient"] .context:has-text("{identity}")', timeout=280_000)
    value = patient.locator(".now-title + .big .v")
    seen: set[str] = set()
    deadline = time.monotonic() + 90
    while len(seen) < 2 and time.monotonic() < deadline:
        seen.add(value.inner_text())
        patient.wait_for_timeout(500)
    assert len(seen) >= 2, f"the value stayed {seen}"
    assert "One time axis" in patient.locator("#lanes-title").inner_text()
    expect(patient.locator(".reason")).not_to_have_text("", timeout=280_000)

    commands = tabs["commands"]
    who, dose = approve_one(commands)
    row = commands.locator(".line-rows tr", has_text=who[:8]).filter(
        has=commands.locator(".steps li", has_text="approved")
    ).first  # fmt: skip
    row.wait_for(timeout=30_000)
    acknowledged = row.locator(".steps li", has_text=re.compile("delivered|applied"))
    acknowledged.first.wait_for(timeout=60_000)
    save_screenshot(commands, "real-approved")
    assert dose

    for tab in tabs.values():
        tab.evaluate(WATCH)
    ward.wait_for_timeout(30_000)
    for page, tab in tabs.items():
        save_screenshot(tab, f"real-{page}")
    for page, tab in tabs.items():
        assert tab.evaluate("window.removed") == [], page
        assert tab.evaluate("window.canvases.every((each) => each.isConnected)"), page
    for page, tab in tabs.items():
        assert axe_violations(tab) == [], page
