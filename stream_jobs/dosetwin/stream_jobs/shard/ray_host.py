"""Shards under Ray: it places them on machines; a supervisor starts one again when it dies, and says so.

A shard runs in a thread of its actor and ends the whole process on any error, so that Ray and Kafka see one
thing: alive or gone. The supervisor owns the actors; when it goes, they go. Restarts are its own
(`max_restarts=0`) because Ray's own come at once and uncounted: a shard that cannot live would spin.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayActorError

from dosetwin.platform.settings import Settings
from dosetwin.stream_jobs.ray_driver import start_ray
from dosetwin.stream_jobs.shard.process import prepare, serve

BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 30.0
HEALTHY_AFTER_S = 60.0
PING_EVERY_S = 0.25
SHARDS_FILE = "run/shards.json"
"""Under data_dir: index, pid and restarts of every shard, for `dosetwin doctor` and fault tests."""


class ShardActor:
    """A shard's process as Ray sees it."""

    def __init__(self, environment: dict[str, str], index: int, restarts: int) -> None:
        from dosetwin.platform.settings import load_settings

        os.environ.update(environment)
        self._settings = load_settings()
        self._stop = threading.Event()
        prepare(self._settings, index)
        self._thread = threading.Thread(
            target=serve,
            args=(self._settings, index, self._stop),
            kwargs={"restarts": restarts},
            name=f"shard-{index}",
            daemon=True,
        )
        self._thread.start()

    def pid(self) -> int:
        """The process id; answering is being alive."""
        return os.getpid()

    def stop(self) -> None:
        """End the loop after its turn and leave the group."""
        self._stop.set()
        self._thread.join(timeout=15)


@dataclass
class _Seat:
    """One shard's place: its actor, how often it was started again, when it may be started next."""

    index: int
    actor: Any = None
    pid: int | None = None
    restarts: int = 0
    failures: int = 0
    started_s: float = 0.0
    start_at_s: float = 0.0
    pending: Any = field(default=None, repr=False)


class ShardSupervisor:
    """Keeps `settings.shards.count` shards running; `say` is told what happens, in words."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._seats = [_Seat(index) for index in range(settings.shards.count)]
        self._environment = settings.environment() | {
            "DOSETWIN_DATA_DIR": str(settings.data_dir.resolve()),
        }
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, num_cpus=0)(ShardActor)

    @property
    def restarts(self) -> int:
        """How often a shard had to be started again."""
        return sum(seat.restarts for seat in self._seats)

    def run(self, stop: threading.Event) -> None:
        """Start the shards and keep them until `stop`; then let them finish their turn."""
        while not stop.is_set():
            for seat in self._seats:
                self._tend(seat)
            stop.wait(PING_EVERY_S)
        answers = [seat.actor.stop.remote() for seat in self._seats if seat.actor is not None]
        with contextlib.suppress(RayActorError, GetTimeoutError):
            ray.get(answers, timeout=20)

    def _tend(self, seat: _Seat) -> None:
        now_s = time.monotonic()
        if seat.actor is None:
            if now_s >= seat.start_at_s:
                seat.actor = self._actor_class.options(
                    name=f"dosetwin-shard-{seat.index}-{seat.restarts}", scheduling_strategy="SPREAD"
                ).remote(self._environment, seat.index, seat.restarts)
                seat.pending = seat.actor.pid.remote()
                seat.pid = None
                seat.started_s = now_s
            return
        try:
            ready, _ = ray.wait([seat.pending], timeout=0)
            if not ready:
                return
            pid = ray.get(seat.pending)
            if seat.pid != pid:
                seat.pid = pid
                self._say(f"shard {seat.index} runs in process {pid}")
                self._write()
            elif seat.failures and now_s - seat.started_s > HEALTHY_AFTER_S:
                seat.failures = 0
            seat.pending = seat.actor.pid.remote()
        except ActorUnavailableError:
            seat.pending = seat.actor.pid.remote()
        except (ActorDiedError, RayActorError) as error:
            wait_s = min(BACK_OFF_S * 2**seat.failures, LONGEST_BACK_OFF_S)
            seat.failures += 1
            seat.restarts += 1
            seat.actor, seat.pending = None, None
            seat.start_at_s = now_s + wait_s
            self._say(
                f"shard {seat.index} (process {seat.pid}) died: {_first_line(error)}; "
                f"start number {seat.restarts + 1} in {wait_s:.1f} s "
                f"(log: {self._settings.data_dir / 'logs' / f'shard-{seat.index}.log'})"
            )
            seat.pid = None
            self._write()

    def _write(self) -> None:
        path = self._settings.data_dir / SHARDS_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        content = [{"index": seat.index, "pid": seat.pid, "restarts": seat.restarts} for seat in self._seats]
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(path)


def read_shards(data_dir: Path) -> list[dict[str, Any]]:
    """What the supervisor last wrote of its shards; empty when none runs."""
    try:
        found: list[dict[str, Any]] = json.loads((data_dir / SHARDS_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    return found


def run_shards(settings: Settings, stop: threading.Event, say: Callable[[str], None]) -> int:
    """Start Ray (or join the cluster in RAY_ADDRESS), run the shards until `stop`; returns restarts."""
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    say("starting Ray" if address == "local" else f"joining the Ray cluster at {address}")
    options: dict[str, Any] = {
        "address": address,
        "namespace": settings.kafka.topic_prefix + "dosetwin",
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": 128 * 1024 * 1024}
    start_ray(options)
    try:
        supervisor = ShardSupervisor(settings, say)
        supervisor.run(stop)
        return supervisor.restarts
    finally:
        ray.shutdown()


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
