"""What topics do not tell: the shards' lag in their group, and what the processes tell Prometheus.

Asked in a daemon thread every few seconds, never by a page: a slow answer must not hold a view.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import KafkaAdminClient
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from dosetwin.dashboards.prometheus_text import Samples, parse
from dosetwin.platform import kafka_clients
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.metrics import PORTS_TRIED
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import SOURCES

EVERY_S = 5.0
TIMEOUT_S = 1.0
SHARDS_GROUP = "shards"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """One look at the system; what did not answer is left out."""

    wall_s: float = 0.0
    lag: Mapping[str, int] = field(default_factory=dict)
    """Source topic -> records that the shards' group has still to take."""
    members: int | None = None
    group_state: str = ""
    processes: Mapping[str, Mapping[str, Samples]] = field(default_factory=dict)
    """Kind of process -> its name -> its samples."""


class Prober:
    """Looks every five seconds; `newest` is the last look, `before` the one it followed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._admin: KafkaAdminClient | None = None
        self.before = Probe()
        self.newest = Probe()
        self._thread = threading.Thread(target=self._run, name="system-probe", daemon=True)

    def start(self) -> Prober:
        """Begin to look."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def look(self) -> Probe:
        """One look, now."""
        lag: dict[str, int] = {}
        members, state = None, ""
        try:
            lag, members, state = self._group()
        except (KafkaError, BrokerError, OSError) as error:
            _log.debug("the group of the shards: %s", error)
            self._drop_admin()
        return Probe(time.time(), lag, members, state, self._processes())

    def _run(self) -> None:
        while not self._stop.is_set():
            self.before, self.newest = self.newest, self.look()
            self._stop.wait(EVERY_S)
        self._drop_admin()

    def _drop_admin(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _group(self) -> tuple[dict[str, int], int | None, str]:
        kafka = self._settings.kafka
        group = kafka.group(SHARDS_GROUP)
        if self._admin is None:
            self._admin = kafka_clients.admin(kafka, "dosetwin-dashboard-probe")
        described = self._admin.describe_groups([group]).get(group, {})
        committed = self._admin.list_group_offsets([group]).get(group, {})
        short = {kafka.topic(topic.name): topic.name for topic in SOURCES}
        known = {each: OffsetSpec.LATEST for each in committed if each.topic in short}
        ends = self._admin.list_partition_offsets(known) if known else {}
        lag: dict[str, int] = {}
        for partition, end in ends.items():
            behind = max(0, end.offset - max(committed[partition].offset, 0))
            lag[short[partition.topic]] = lag.get(short[partition.topic], 0) + behind
        members = described.get("members")
        return lag, None if members is None else len(members), str(described.get("group_state", ""))

    def _processes(self) -> dict[str, dict[str, Samples]]:
        metrics = self._settings.metrics
        ports = {
            port + step
            for port in (metrics.shard_port, metrics.control_port, metrics.fleet_port)
            if port
            for step in range(PORTS_TRIED)
        }
        found: dict[str, dict[str, Samples]] = {}
        for port in sorted(ports):
            samples = self._scrape(port)
            for labels, _ in (samples or {}).get("dosetwin_process_info", []):
                found.setdefault(labels.get("process", ""), {})[labels.get("name", str(port))] = samples or {}
        return found

    def _scrape(self, port: int) -> Samples | None:
        url = f"http://{self._settings.metrics.address}:{port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                return parse(answer.read().decode())
        except (urllib.error.URLError, OSError, ValueError):
            return None
