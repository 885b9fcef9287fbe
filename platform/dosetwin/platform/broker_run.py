"""`dosetwin broker`: runs the single-node broker in the foreground until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from rich.console import Console

from dosetwin.platform.broker import Broker
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topic_admin import declare_topics


def run_broker(settings: Settings, *, fresh: bool, topics: bool) -> None:
    """Start, say where it is and what comes next, and stop it cleanly on SIGINT or SIGTERM.

    Raises BrokerError where it does not start, or ends while it should run.
    """
    console = Console(highlight=False)
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        # while it starts, either breaks off the start, which cleans up after itself
        signal.signal(number, signal.default_int_handler)
    broker = Broker(
        settings.data_dir / "broker",
        settings.broker.port,
        settings.broker.heap_mb,
        fresh=fresh,
        announce=console.print,
    )
    with console.status("Starting Apache Kafka ..."):
        bootstrap = broker.start()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask_to_stop)
        console.print(f"Apache Kafka answers at [bold]{bootstrap}[/] (process {broker.pid}).")
        console.print(f"Data {broker.data_dir}, log {broker.log_path}.")
        if topics:
            kafka = KafkaSettings(**(settings.kafka.model_dump() | {"bootstrap": bootstrap}))
            states = declare_topics(kafka)
            console.print(f"{len(states)} topics of {kafka.partitions} partitions are declared.")
        else:
            console.print(f"Next: dosetwin topics --bootstrap {bootstrap}")
        console.print(f"Then: dosetwin twins --bootstrap {bootstrap} (and control, fleet, dashboard).")
        console.print("Ctrl-C stops it; the data stays.")
        while not stop.wait(0.5):
            if broker.pid is None:
                raise BrokerError(
                    f"the broker ended by itself; the end of {broker.log_path}:\n{broker.last_log_lines()}",
                    remedy="`dosetwin doctor` checks disk and memory; raise broker.heap_mb if memory ran out",
                )
        console.print("Stopping the broker ...")
    finally:
        broker.stop()
