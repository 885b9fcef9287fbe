"""`dosetwin demo`: the whole platform on this machine, for people to watch or for figures."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import urllib.request
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dosetwin.platform.broker import Broker, free_port
from dosetwin.platform.errors import DoseTwinError
from dosetwin.platform.settings import Settings, load_settings
from dosetwin.platform.topic_admin import declare_topics
from dosetwin.stream_jobs.demo.children import Child
from dosetwin.stream_jobs.demo.tally import LatencyWatch, count, unconsumed

STARTS_WITHIN_S = 180.0
DRAINS_WITHIN_S = 300.0
STANDS_STILL_S = 120.0
"""A drain is given up when nothing has moved for so long: a busy machine takes minutes to restart a shard."""


@dataclass(frozen=True)
class DemoPlan:
    """What a demo does; see `dosetwin demo --help`."""

    patients: int
    for_s: float | None
    speed: float
    seed: int
    mode: str
    faults: str
    therapy_mix: str
    shards: int
    kill_shards: int
    headless: bool
    as_json: bool
    open_browser: bool
    dashboard_port: int
    data_dir: Path
    bootstrap: str | None


class Demo:
    """Starts everything in order, watches it, ends it in order, counts."""

    def __init__(self, plan: DemoPlan) -> None:
        self.plan = plan
        self._console = Console(stderr=plan.as_json, highlight=False)
        self._stop = threading.Event()
        self._children: dict[str, Child] = {}
        self._kills = 0

    def run(self) -> int:
        """Run the demo; returns the exit status: 1 where a command was lost or doubled."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._end())
        with ExitStack() as stack:
            settings = self._provision(stack)
            started_s = time.time()
            watch = LatencyWatch(settings)
            watch.start()
            stack.callback(self._end_children)
            try:
                self._start_children(settings)
                self._await("the first reading of the fleet", lambda: watch.first_reading_s is not None)
                self._watch(settings, watch, started_s)
                self._say("the fleet stops; waiting for everything on its way")
                self._drain(settings)
            finally:
                latency = watch.finish()
            result = count(settings.kafka).as_json()
            self._end_children()
        first = watch.first_command_s
        result["latency_ms"] = latency
        result["seconds_to_first_command"] = round(first - started_s, 1) if first is not None else None
        result["shard_restarts"] = self._shard_restarts(settings)
        self._report(result)
        return 1 if result["commands_lost"] or result["commands_doubled"] else 0

    def _end(self) -> None:
        """Ctrl-C: end in order; a second time: end now."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def _provision(self, stack: ExitStack) -> Settings:
        """Data folder, broker and topics; returns the settings that every process gets."""
        plan = self.plan
        data_dir = plan.data_dir.absolute()
        for stale in ("broker/storage", "fleet", "run", "logs"):
            shutil.rmtree(data_dir / stale, ignore_errors=True)
        wall_s = time.time()
        kafka: dict[str, Any] = {"topic_prefix": f"demo-{int(wall_s)}-"}
        if plan.bootstrap:
            kafka["bootstrap"] = plan.bootstrap
        else:
            self._say("starting Apache Kafka")
            broker = Broker(data_dir / "broker", announce=self._say, show_progress=not plan.as_json)
            stack.enter_context(broker)
            kafka["bootstrap"] = broker.bootstrap
        settings = load_settings(
            data_dir=data_dir,
            kafka=kafka,
            clock={"speed": plan.speed, "wall_anchor_s": wall_s, "event_anchor_s": wall_s},
            shards={"count": plan.shards},
            dashboard={"port": plan.dashboard_port or free_port()},
        )
        declare_topics(settings.kafka)
        self._say(f"Kafka at {settings.kafka.bootstrap}, topics {settings.kafka.topic_prefix}*")
        settings.command_signer()
        settings.action_signer()
        settings.pseudonym_key()
        return settings

    def _start_children(self, settings: Settings) -> None:
        plan = self.plan
        environment = settings.environment()
        logs = settings.data_dir / "logs"
        fleet = ["fleet", "--patients", str(plan.patients), "--seed", str(plan.seed), "--mode", plan.mode]
        fleet += ["--faults", plan.faults, "--therapy-mix", plan.therapy_mix]
        fleet += ["--state-dir", str(settings.data_dir / "fleet"), "--drain", str(DRAINS_WITHIN_S)]
        commands = {"twins": ["twins"], "control": ["control"]}
        if not plan.headless:
            commands["dashboard"] = ["dashboard"]
        for name, arguments in commands.items():
            self._children[name] = Child(name, arguments, environment, logs)
            self._children[name].start()
        self._say("starting the twins (Ray), the control app" + ("" if plan.headless else ", the dashboard"))
        self._await("the shards", lambda: self._shards_up(settings))
        self._children["fleet"] = Child("fleet", fleet, environment, logs)
        self._children["fleet"].start()
        if not plan.headless:
            url = f"http://{settings.dashboard.address}:{settings.dashboard.port}"
            self._await("the dashboard", lambda: _answers(f"{url}/_stcore/health"))
            print(f"dashboard: {url}", file=sys.stderr if plan.as_json else sys.stdout, flush=True)
            if plan.open_browser:
                webbrowser.open(url)

    def _await(self, what: str, ready: Any) -> None:
        deadline_s = time.monotonic() + STARTS_WITHIN_S
        with self._console.status(f"waiting for {what}"):
            while not ready():
                self._tend()
                if time.monotonic() > deadline_s:
                    logs = {name: child.last_words(4) for name, child in self._children.items()}
                    raise DoseTwinError(
                        f"{what} did not come up within {STARTS_WITHIN_S:.0f} s; logs end with {logs}",
                        remedy=f"read the logs under {self.plan.data_dir / 'logs'}; `dosetwin doctor` checks "
                        "this machine",
                    )
                if self._stop.wait(0.2):
                    raise KeyboardInterrupt

    def _watch(self, settings: Settings, watch: LatencyWatch, started_s: float) -> None:
        plan = self.plan
        begun_s = time.monotonic()
        ends_s = begun_s + plan.for_s if plan.for_s is not None else float("inf")
        kill_at = [
            begun_s + plan.for_s * (k + 1) / (plan.kill_shards + 1)
            if plan.for_s
            else begun_s + 20.0 * (k + 1)
            for k in range(plan.kill_shards)
        ]
        chance = random.Random(plan.seed)
        told = False
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("running (Ctrl-C ends it)", total=plan.for_s)
            while time.monotonic() < ends_s and not self._stop.wait(0.2):
                self._tend()
                if kill_at and time.monotonic() >= kill_at[0]:
                    kill_at.pop(0)
                    self._kill_a_shard(settings, chance)
                if not told and watch.first_applied_s is not None:
                    told = True
                    self._say(f"first command applied {watch.first_applied_s - started_s:.1f} s after start")
                progress.update(task, completed=time.monotonic() - begun_s)

    def _kill_a_shard(self, settings: Settings, chance: random.Random) -> None:
        from dosetwin.stream_jobs.shard.ray_host import read_shards

        alive = [shard for shard in read_shards(settings.data_dir) if shard["pid"]]
        if not alive:
            self._say("no shard is alive to be killed")
            return
        shard = chance.choice(alive)
        try:
            os.kill(shard["pid"], signal.SIGKILL)
        except ProcessLookupError:
            return
        self._kills += 1
        self._say(f"SIGKILL number {self._kills}: shard {shard['index']} (process {shard['pid']})")

    def _drain(self, settings: Settings) -> None:
        """Stop the fleet's devices, let the pipeline and the answers run dry."""
        fleet = self._children["fleet"]
        ender = threading.Thread(target=fleet.end, args=(DRAINS_WITHIN_S,))
        ender.start()
        before, moved_s = None, time.monotonic()
        ends_s = moved_s + DRAINS_WITHIN_S
        with self._console.status("draining"):
            while time.monotonic() < min(ends_s, moved_s + STANDS_STILL_S):
                for name in ("twins", "control"):
                    self._children[name].tend(self._say)
                left = ender.is_alive(), unconsumed(settings.kafka), count(settings.kafka).lost
                if not any(left):
                    break
                if left != before:
                    before, moved_s = left, time.monotonic()
                time.sleep(0.5)
            else:
                self._say("still not drained; what is missing counts as lost")
        ender.join(timeout=10)

    def _tend(self) -> None:
        for child in self._children.values():
            child.tend(self._say)

    def _end_children(self) -> None:
        for name in ("fleet", "dashboard", "control", "twins"):
            child = self._children.pop(name, None)
            if child is not None:
                child.end(30.0)

    def _shards_up(self, settings: Settings) -> bool:
        from dosetwin.stream_jobs.shard.ray_host import read_shards

        found = read_shards(settings.data_dir)
        return len(found) == settings.shards.count and all(shard["pid"] for shard in found)

    def _shard_restarts(self, settings: Settings) -> int:
        from dosetwin.stream_jobs.shard.ray_host import read_shards

        return sum(int(shard["restarts"]) for shard in read_shards(settings.data_dir))

    def _report(self, result: dict[str, Any]) -> None:
        if self.plan.as_json:
            print(json.dumps(result), flush=True)
            return
        width = max(len(name) for name in result)
        for name, value in result.items():
            self._console.print(f"  {name.replace('_', ' '):{width}}  {value}")

    def _say(self, words: str) -> None:
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {words}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
