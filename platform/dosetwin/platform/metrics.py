"""What each process tells Prometheus: every metric of the platform by name, unit and meaning, in one place.

One class a kind of process, each on a registry of its own, so that two of them in one interpreter (tests, a
headless demo) do not collide. Children of labels are bound once: in a hot loop an update is one dictionary
look-up and one locked addition, below 2 microseconds; add up a batch and call `inc(n)` once.

    metrics = ShardMetrics("shard-0")
    port = metrics.serve("127.0.0.1", 9464)
    metrics.observations.inc(len(batch))
    metrics.rejects["unknown_unit"].inc()
    with metrics.jax_seconds["decide"].time(): ...
    metrics.alerts["predicted_low", "high"].inc()

All durations are wall seconds, also where the platform clock runs faster than life.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Generic, Self, TypeVar, get_args, get_type_hints
from wsgiref.simple_server import WSGIServer

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_wsgi_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dosetwin.platform.contracts import DeadLetterReason, Decision, Priority
from dosetwin.platform.errors import SettingsError

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""From a warm turn of the loop (5 ms) to the minute after which a closed loop is no longer one."""
STEP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
BYTE_BUCKETS = (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
PORTS_TRIED = 10

REASONS: tuple[str, ...] = get_args(DeadLetterReason)
OUTCOMES: tuple[str, ...] = get_args(get_type_hints(Decision)["outcome"])
PRIORITIES: tuple[str, ...] = get_args(Priority)
SOURCE_NAMES = ("readings", "doses", "enrolments", "actions", "acknowledgements")

# a second series for each counter that nobody reads; (the library left the function untyped)
disable_created_metrics()  # type: ignore[no-untyped-call]
_log = logging.getLogger(__name__)
_M = TypeVar("_M", Counter, Gauge, Histogram)


class Labelled(Generic[_M]):
    """A metric by its label values; a child is bound at its first use and kept.

    `metric["value"]` for one label, `metric["first", "second"]` for two. Children named in `known` exist from
    the start with 0, so that the first event of a kind already shows as an increase.
    """

    def __init__(self, metric: _M, known: Iterable[tuple[str, ...]] = ()) -> None:
        self._metric: _M = metric
        self._children: dict[str | tuple[str, ...], _M] = {}
        for values in known:
            self[values if len(values) > 1 else values[0]]

    def __getitem__(self, values: str | tuple[str, ...]) -> _M:
        child = self._children.get(values)
        if child is None:
            given = (values,) if isinstance(values, str) else values
            child = self._children[values] = self._metric.labels(*given)
        return child


class ResidentProcess(Collector):
    """Memory, processor time, start and threads of this process, by psutil on every platform."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def collect(self) -> Iterable[Metric]:
        """The process's own families, under the names that Prometheus's client libraries agree on."""
        with self._process.oneshot():
            cpu = self._process.cpu_times()
            yield GaugeMetricFamily(
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                value=float(self._process.memory_info().rss),
            )
            yield CounterMetricFamily(
                "process_cpu_seconds", "Processor time, user and system.", value=cpu.user + cpu.system
            )
            yield GaugeMetricFamily(
                "process_start_time_seconds",
                "When the process started, Unix seconds.",
                value=self._process.create_time(),
            )
            yield GaugeMetricFamily(
                "process_threads", "Threads of the process.", value=float(self._process.num_threads())
            )


class ProcessMetrics:
    """What every process has: a registry, who it is, its memory, and an endpoint to be scraped at."""

    kind = "process"

    def __init__(self, name: str = "", registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.name = name or self.kind
        self._server: WSGIServer | None = None
        self.registry.register(ResidentProcess())
        self._gauge(
            "dosetwin_process_info",
            "1, labelled with what this process is and its version.",
            "process",
            "name",
            "version",
        ).labels(self.kind, self.name, version("dosetwin")).set(1)

    def serve(self, address: str = "127.0.0.1", port: int = 0) -> int:
        """Answer `GET /metrics` in a daemon thread; returns the port that was taken.

        Port 0 takes a free one. Of a port in use, the next ones are tried, then any free one, and the log
        says which. Raises SettingsError when the address is not this machine's.
        """
        wanted = [p for p in range(port, min(port + PORTS_TRIED, 65536)) if p] if port else []
        for candidate in [*wanted, 0]:
            try:
                self._server, _ = start_wsgi_server(candidate, address, self.registry)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise SettingsError(
                        f"metrics cannot be served at {address}:{candidate} ({error})",
                        remedy="set metrics.address to 127.0.0.1 or to an address of this machine",
                    ) from error
                continue
            taken = int(self._server.server_port)
            if port and taken != port:
                _log.warning("metrics port %d is in use; %s serves on %d", port, self.name, taken)
            else:
                _log.info("%s serves metrics on http://%s:%d/metrics", self.name, address, taken)
            return taken
        raise SettingsError(f"no free port at {address} for metrics", remedy="free a port on this machine")

    def close(self) -> None:
        """Stop answering; the counts stay."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = STEP_BUCKETS_S
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


def _one(values: Iterable[str]) -> list[tuple[str, ...]]:
    return [(value,) for value in values]


class ShardMetrics(ProcessMetrics):
    """A shard: what came in, what it took, what left, how far it is behind."""

    kind = "shard"

    def __init__(self, name: str = "", registry: CollectorRegistry | None = None) -> None:
        super().__init__(name, registry)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.records = Labelled(
            counter("dosetwin_records_total", "Records polled from a source topic.", "topic"),
            _one(SOURCE_NAMES),
        )
        self.readings = counter("dosetwin_readings_total", "Device messages on the topic readings.")
        self.observations = counter(
            "dosetwin_observations_total", "Samples that were checked, converted and given to a twin."
        )
        self.rejects = Labelled(
            counter("dosetwin_rejects_total", "Dead letters written, by reason.", "reason"), _one(REASONS)
        )
        self.batch_records = histogram(
            "dosetwin_batch_records", "Records in one turn that had any.", buckets=BATCH_BUCKETS
        )
        self.batch_seconds = histogram("dosetwin_batch_seconds", "One turn with records, poll to commit.")
        self.poll_seconds = histogram("dosetwin_poll_seconds", "Waiting for and fetching records in a turn.")
        self.jax_seconds = Labelled(
            histogram("dosetwin_jax_seconds", "Twins' arithmetic in a turn, by step.", "step"),
            _one(("assimilate", "decide")),
        )
        self.transaction_seconds = histogram(
            "dosetwin_transaction_seconds", "Begin to committed, outputs and offsets together."
        )
        self.end_to_end_seconds = histogram(
            "dosetwin_end_to_end_seconds",
            "Device sent its reading to the command being readable (committed).",
            buckets=LATENCY_BUCKETS_S,
        )
        self.lag_records = Labelled(
            gauge("dosetwin_consumer_lag_records", "Records on owned partitions not yet taken.", "topic"),
            _one(SOURCE_NAMES),
        )
        self.decisions = Labelled(
            counter("dosetwin_decisions_total", "Decisions, by outcome.", "outcome"), _one(OUTCOMES)
        )
        self.refusals = Labelled(
            counter("dosetwin_refusals_total", "What the supervisor cut, by limit.", "limit", "effect")
        )
        self.alerts = _alerts(counter)
        self.restarts = counter(
            "dosetwin_shard_restarts_total", "Restarts of this shard so far, told by its supervisor at start."
        )
        self.assimilate_only = gauge(
            "dosetwin_assimilate_only", "1 while the shard is behind and scores no early decisions."
        )
        self.partitions = gauge("dosetwin_partitions", "Partitions that the shard owns.")
        self.twins = Labelled(gauge("dosetwin_twins", "Twins kept, by therapy.", "therapy"))
        self.twins_bytes = Labelled(
            gauge("dosetwin_twins_bytes", "Memory that the banks take, by therapy.", "therapy")
        )
        self.compilations = counter(
            "dosetwin_compilations_total", "JAX programs compiled, or loaded from the compilation cache."
        )
        self.snapshots = counter("dosetwin_snapshots_total", "Twin snapshot chunks written.")
        self.snapshot_bytes = counter("dosetwin_snapshot_bytes_total", "Bytes of them.")
        self.recovery_seconds = histogram(
            "dosetwin_recovery_seconds", "Assigned a partition to live again.", buckets=LATENCY_BUCKETS_S
        )


class ControlMetrics(ProcessMetrics):
    """The control app: life cycles of enrolments, alerts and commands."""

    kind = "control"

    def __init__(self, name: str = "", registry: CollectorRegistry | None = None) -> None:
        super().__init__(name, registry)
        counter, gauge = self._counter, self._gauge
        self.events = Labelled(
            counter("dosetwin_control_events_total", "Events handled, by topic.", "topic"),
            _one(
                ("readings", "doses", "enrolments", "actions", "commands", "acknowledgements", "alerts"),
            ),
        )
        self.rejects = Labelled(
            counter("dosetwin_control_rejects_total", "Events refused, by reason.", "reason"), _one(REASONS)
        )
        self.alerts = _alerts(counter, "dosetwin_control_alerts_total")
        self.escalations = Labelled(
            counter("dosetwin_escalations_total", "Alerts passed to the next person, by step.", "level"),
            _one(("1", "2", "3")),
        )
        self.watchdog_expiries = counter(
            "dosetwin_watchdog_expiries_total", "Commands that no device answered before their expiry."
        )
        self.missed_doses = counter("dosetwin_missed_doses_total", "Planned doses that were not taken.")
        self.open_alerts = Labelled(
            gauge("dosetwin_open_alerts", "Alerts that are raised and not over.", "priority"),
            _one(PRIORITIES),
        )
        self.open_commands = gauge("dosetwin_open_commands", "Commands without a final acknowledgement.")
        self.lag_records = gauge("dosetwin_control_lag_records", "Records that the control app has to take.")


class FleetMetrics(ProcessMetrics):
    """The synthetic fleet and the device gateway."""

    kind = "fleet"

    def __init__(self, name: str = "", registry: CollectorRegistry | None = None) -> None:
        super().__init__(name, registry)
        counter, gauge = self._counter, self._gauge
        self.patients = Labelled(gauge("dosetwin_fleet_patients", "Patients simulated.", "therapy"))
        self.sent = Labelled(
            counter("dosetwin_fleet_sent_total", "Messages sent by devices, by topic.", "topic"),
            _one(("readings", "doses", "acknowledgements")),
        )
        self.faults = Labelled(
            counter("dosetwin_fleet_faults_total", "Faults made on purpose, by kind.", "kind")
        )
        self.acknowledgements = Labelled(
            counter("dosetwin_fleet_acknowledgements_total", "What devices did with commands.", "status"),
            _one(("delivered", "applied", "refused", "expired")),
        )
        self.step_seconds = self._histogram("dosetwin_fleet_step_seconds", "One step of all plants.")
        self.behind_seconds = gauge("dosetwin_fleet_behind_seconds", "How late the fleet is on its clock.")


class DashboardMetrics(ProcessMetrics):
    """The dashboard's one process: its reader of the topics and its viewers."""

    kind = "dashboard"

    def __init__(self, name: str = "", registry: CollectorRegistry | None = None) -> None:
        super().__init__(name, registry)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.runs = Labelled(counter("dosetwin_dashboard_runs_total", "Page and fragment runs.", "page"))
        self.run_seconds = Labelled(
            histogram("dosetwin_dashboard_run_seconds", "One run of a page or fragment.", "page")
        )
        self.sent_bytes = Labelled(
            histogram(
                "dosetwin_dashboard_sent_bytes",
                "What one run hands to its view.",
                "page",
                buckets=BYTE_BUCKETS,
            )
        )
        self.viewers = gauge("dosetwin_dashboard_viewers", "Browser sessions connected.")
        self.reader_lag_records = gauge(
            "dosetwin_dashboard_reader_lag_records", "Records that the background reader has to take."
        )
        self.reader_seconds = histogram(
            "dosetwin_dashboard_reader_seconds", "Folding a batch into the next immutable snapshot."
        )
        self.reader_records = counter(
            "dosetwin_dashboard_reader_records_total", "Records that the background reader took."
        )
        self.actions = Labelled(
            counter("dosetwin_dashboard_actions_total", "Human actions sent, by kind.", "kind"),
            _one(("approve", "refuse", "acknowledge", "clear", "mode")),
        )


def _alerts(make: Callable[..., Counter], name: str = "dosetwin_alerts_total") -> Labelled[Counter]:
    return Labelled(make(name, "Alerts raised, by kind and priority.", "kind", "priority"))
