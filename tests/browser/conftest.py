"""A dashboard process on a synthetic ward on the session's broker, and a headless Chromium to look at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from dosetwin.platform.settings import (
    ClockSettings,
    DashboardSettings,
    KafkaSettings,
    MetricsSettings,
    Settings,
)
from dosetwin.platform.topic_admin import declare_topics, delete_topics
from tests.dashboards.synthetic_ward import SyntheticWard

SCREENSHOTS = Path(__file__).parents[2] / "ci-output" / "screenshots"
SPEED = 300.0
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """The Chromium of this machine: DOSETWIN_CHROMIUM, or the first of the usual names."""
    given = os.environ.get("DOSETWIN_CHROMIUM")
    return next((found for name in (given, *NAMES) if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the run; without one the browser tests are skipped."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium found; run infra/install_chromium.sh or set DOSETWIN_CHROMIUM to its path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


@dataclass
class LiveWard:
    """A ward that is written once a second in a thread, and the dashboard process that shows it."""

    settings: Settings
    ward: SyntheticWard
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    writing: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def event_s(self) -> float:
        """Event time now."""
        return self.settings.platform_clock.event_s()

    def write(self) -> None:
        """Write a step a second while `writing` is set; the body of the writer's thread."""
        while not self.stop.wait(1.0):
            if self.writing.is_set():
                with self.lock:
                    self.ward.step(self.event_s())
                    self.ward.flush()


@pytest.fixture(scope="session")
def live_ward(broker_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWard]:
    """24 patients at 300 times life, and `dosetwin dashboard` in a process of its own."""
    folder = tmp_path_factory.mktemp("dashboard")
    kafka = KafkaSettings(bootstrap=broker_bootstrap, topic_prefix="browser-", partitions=4)
    declare_topics(kafka)
    now = time.time()
    settings = Settings(
        data_dir=folder / "data",
        kafka=kafka,
        clock=ClockSettings(speed=SPEED, wall_anchor_s=now, event_anchor_s=now),
        dashboard=DashboardSettings(port=0),
        metrics=MetricsSettings(shard_port=0, control_port=0, fleet_port=0, dashboard_port=0),
    )
    ward = SyntheticWard(settings, 24)
    ward.enrol(now)
    ward.prefill(now)
    ward.flush()
    process, url, log = start_dashboard(settings, folder)
    live = LiveWard(settings, ward, url, log, process)
    live.writing.set()
    writer = threading.Thread(target=live.write, daemon=True)
    writer.start()
    yield live
    live.stop.set()
    writer.join(timeout=30)
    stop_process(process)
    ward.close()
    delete_topics(kafka)


def start_dashboard(settings: Settings, folder: Path) -> tuple[subprocess.Popen[bytes], str, Path]:
    """Run `dosetwin dashboard` with these settings; the process, its address, its log."""
    log = folder / "dashboard.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dosetwin.platform.command_line", "dashboard"]
            if shutil.which("dosetwin") is None and not Path(sys.executable).with_name("dosetwin").exists()
            else [str(Path(sys.executable).with_name("dosetwin")), "dashboard"],
            env={**os.environ, **settings.environment()},
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    url = wait_for_url(process, log)
    return process, url, log


def wait_for_url(process: subprocess.Popen[bytes], log: Path, timeout_s: float = 120.0) -> str:
    """The address that the process prints, once it answers there."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        found = next((line for line in said.splitlines() if line.startswith("dashboard: ")), None)
        if found is not None:
            url = found.split()[1]
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                    return url
            except (urllib.error.URLError, OSError):
                pass
        if process.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"no dashboard within {timeout_s:.0f} s; it said: {log.read_text(errors='replace')[-2000:]}")


def stop_process(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C, and wait for the end."""
    process.send_signal(2)
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(timeout=10)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh browser profile, light."""
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened.set_default_timeout(120_000)
    yield opened
    opened.close()


def address(url: str, page: str) -> str:
    """Where a page is; the ward is the first page and has no path of its own."""
    return url if page == "ward" else f"{url}/{page}"


def open_page(context: BrowserContext, url: str, page: str = "ward") -> Page:
    """Open a page of the dashboard and wait until it is live."""
    tab = context.new_page()
    tab.goto(address(url, page))
    tab.wait_for_selector(f'.dt[data-page="{page.split("?")[0]}"][data-state="live"]', timeout=90_000)
    return tab


def save_screenshot(tab: Page, name: str) -> None:
    """Keep a picture as output of the run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=False)
