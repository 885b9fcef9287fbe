"""A shard as a process: logging, compilation cache, metrics endpoint, and no survival after an error."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import Settings


def run_shard(settings: Settings, index: int, *, restarts: int = 0) -> None:
    """Run a shard in this process until SIGTERM or SIGINT; any error ends the process at once.

    `os._exit` on an error, because a half-alive member that still heartbeats would keep its partitions.
    """
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    prepare(settings, index)
    serve(settings, index, stop, restarts=restarts)


def serve(settings: Settings, index: int, stop: threading.Event, *, restarts: int = 0) -> None:
    """Run the shard's loop until `stop`; leaves the process on any error."""
    from dosetwin.stream_jobs.shard.loop import Shard
    from dosetwin.stream_jobs.shard.warm_up import LARGE, SMALL, warm_up, warm_up_behind

    log = logging.getLogger(__name__)
    try:
        shard = Shard(settings, index, restarts=restarts)
        _count_compilations(shard.metrics)
        port = settings.metrics.shard_port
        shard.metrics.serve(settings.metrics.address, port + index if port else 0)
        warm_up(settings.shards.warm_up, SMALL)
        warm_up_behind(settings.shards.warm_up, LARGE)
        shard.run(stop)
    except BaseException:
        log.exception("shard %d leaves: its supervisor will start it again", index)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)


def _count_compilations(metrics: ShardMetrics) -> None:
    """Count the programs that JAX compiles: a loop whose shapes are few compiles none once it is warm."""
    import jax

    def on_event(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            metrics.compilations.inc()

    jax.monitoring.register_event_duration_secs_listener(on_event)


def prepare(settings: Settings, index: int) -> None:
    """Log to data_dir/logs/shard-N.log; keep compiled programs. Call it before JAX is imported."""
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=logs / f"shard-{index}.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.getLogger("kafka").setLevel(logging.WARNING)
    keep_compilations()
