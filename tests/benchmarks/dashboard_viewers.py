"""How one dashboard process bears 25 viewers, and what a ward of 2,000 costs the browser's main thread.

    python -m tests.benchmarks.dashboard_viewers viewers --viewers 25 --patients 24 --seconds 20
    python -m tests.benchmarks.dashboard_viewers ward --patients 2000 --seconds 20

`viewers` speaks Streamlit's own websocket protocol: each viewer opens a session and then asks for its page's
fragment once a second, as a browser does; the time is from asking to the end of the fragment's run.
`ward` asks Chromium for the time its main thread was busy (Performance.getMetrics, TaskDuration). Both
start a broker, a synthetic ward at 1 Hz and the dashboard. By hand, on a quiet machine; not in `make test`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from dosetwin.platform.broker import Broker
from dosetwin.platform.settings import (
    ClockSettings,
    DashboardSettings,
    KafkaSettings,
    MetricsSettings,
    Settings,
)
from dosetwin.platform.topic_admin import declare_topics
from tests.browser.conftest import CHROMIUM_FLAGS, find_chromium, start_dashboard, stop_process
from tests.dashboards.synthetic_ward import SyntheticWard


@contextmanager
def stack(patients: int, hours: float) -> Iterator[tuple[str, psutil.Process]]:
    """Broker, synthetic ward at 1 Hz and dashboard; the address and the dashboard's process."""
    folder = Path(tempfile.mkdtemp(prefix="dosetwin-viewers-"))
    stop = threading.Event()
    try:
        with Broker(folder / "broker", port=0) as broker:
            kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=4)
            declare_topics(kafka)
            now = time.time()
            settings = Settings(
                data_dir=folder / "data",
                kafka=kafka,
                clock=ClockSettings(speed=300, wall_anchor_s=now, event_anchor_s=now),
                dashboard=DashboardSettings(port=0),
                metrics=MetricsSettings(shard_port=0, control_port=0, fleet_port=0, dashboard_port=0),
            )
            ward = SyntheticWard(settings, patients)
            ward.enrol(now)
            ward.prefill(now, hours)
            ward.flush()

            def write() -> None:
                while not stop.is_set():
                    started = time.time()
                    ward.step(settings.platform_clock.event_s())
                    ward.flush()
                    stop.wait(max(0.0, 1.0 - (time.time() - started)))

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            process, url, _ = start_dashboard(settings, folder)
            try:
                yield url, psutil.Process(process.pid)
            finally:
                stop_process(process)
                stop.set()
                writer.join(timeout=30)
                ward.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def viewer(
    url: str, page: str, start_s: float, seconds: float, took: list[float], sent: list[int]
) -> None:
    """One session: a full run, then its fragment once a second; run times and message bytes are noted."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.asyncio.client import connect

    address = url.replace("http", "ws") + "/_stcore/stream"
    async with connect(address, subprotocols=["streamlit"], max_size=None, origin=url) as socket:  # type: ignore[arg-type,list-item]  # typed as NewTypes
        ask = BackMsg()
        ask.rerun_script.query_string = ""
        ask.rerun_script.page_name = page
        await socket.send(ask.SerializeToString())
        fragment = ""

        async def run_ends() -> int:
            nonlocal fragment
            size = 0
            while True:
                message = ForwardMsg()
                raw = await socket.recv(decode=False)
                message.ParseFromString(raw)
                size += len(raw)
                if message.WhichOneof("type") == "auto_rerun":
                    fragment = message.auto_rerun.fragment_id
                if message.WhichOneof("type") == "script_finished":
                    return size

        await run_ends()
        if not fragment:
            raise RuntimeError("the page has no fragment that runs by itself; is its timer gone?")
        await asyncio.sleep(max(0.0, start_s - time.time()))
        end = time.time() + seconds
        while time.time() < end:
            ask = BackMsg()
            ask.rerun_script.page_name = page
            ask.rerun_script.fragment_id = fragment
            ask.rerun_script.is_auto_rerun = True
            began = time.perf_counter()
            await socket.send(ask.SerializeToString())
            sent.append(await run_ends())
            took.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))


async def viewers(
    url: str, process: psutil.Process, count: int, page: str, seconds: float
) -> dict[str, float]:
    """`count` viewers at 1 Hz, spread over the second; quantiles of run time and processor use."""
    took: list[float] = []
    sent: list[int] = []
    start_s = time.time() + 2.0 + 0.4 * count
    tasks = []
    for index in range(count):
        offset = index / count
        tasks.append(asyncio.create_task(viewer(url, page, start_s + offset, seconds, took, sent)))
        await asyncio.sleep(0.3)
    await asyncio.sleep(max(0.0, start_s + 1.0 - time.time()))
    before = sum(process.cpu_times()[:2])
    await asyncio.gather(*tasks)
    cpu_s = sum(process.cpu_times()[:2]) - before
    return {
        "viewers": count,
        "runs": len(took),
        "p50_ms": round(1000 * float(np.quantile(took, 0.5)), 1),
        "p95_ms": round(1000 * float(np.quantile(took, 0.95)), 1),
        "kB_a_run": round(float(np.mean(sent)) / 1000, 1),
        "processor_share": round(cpu_s / seconds, 3),
        "resident_MB": round(process.memory_info().rss / 1e6),
    }


def main_thread(url: str, seconds: float) -> dict[str, float]:
    """Milliseconds a second that the browser's main thread is busy with the ward."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(CHROMIUM_FLAGS))
        tab = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        tab.goto(url)
        tab.wait_for_selector('.dt[data-state="live"]', timeout=240_000)
        tab.wait_for_timeout(5000)
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable")

        def read() -> dict[str, float]:
            return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

        before, began = read(), time.perf_counter()
        tab.wait_for_timeout(seconds * 1000)
        after, span_s = read(), time.perf_counter() - began
        busy = {
            name: round(1000 * (after[name] - before[name]) / span_s, 1)
            for name in ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
        }
        shown = tab.locator(".f-shown").inner_text()
        browser.close()
    return {f"{name}_ms_a_s": value for name, value in busy.items()} | {"patients": float(shown.split()[0])}


def main() -> None:
    """Run one of the two measurements and print it as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("viewers", "ward"))
    parser.add_argument("--viewers", type=int, default=25)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument(
        "--page", default="patient", choices=("ward", "patient", "commands", "alerts", "system")
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hours", type=float, default=4.0)
    options = parser.parse_args()
    with stack(options.patients, options.hours) as (url, process):
        if options.what == "viewers":
            found = asyncio.run(viewers(url, process, options.viewers, options.page, options.seconds))
        else:
            found = main_thread(url, options.seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
