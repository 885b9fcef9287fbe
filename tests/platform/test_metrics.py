"""Metrics, by a real HTTP scrape read back with Prometheus's own parser."""

from __future__ import annotations

import logging
import os
import socket
import urllib.request
from collections.abc import Callable

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dosetwin.platform.errors import SettingsError
from dosetwin.platform.metrics import (
    LATENCY_BUCKETS_S,
    OUTCOMES,
    REASONS,
    ControlMetrics,
    DashboardMetrics,
    FleetMetrics,
    ProcessMetrics,
    ShardMetrics,
)

LOOPBACK = "127.0.0.1"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(port: int) -> Samples:
    """Every sample of one scrape by name and labels."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_a_scrape_shows_what_was_counted() -> None:
    with ShardMetrics("shard-7") as metrics:
        port = metrics.serve(LOOPBACK, 0)
        before = scrape(port)
        assert value(before, "dosetwin_rejects_total", reason="unknown_unit") == 0

        metrics.observations.inc(3)
        metrics.rejects["unknown_unit"].inc()
        metrics.alerts["predicted_low", "high"].inc(2)
        metrics.refusals["maximum_bolus", "reduced"].inc()
        metrics.assimilate_only.set(1)
        metrics.lag_records["readings"].set(41)
        metrics.end_to_end_seconds.observe(0.007)
        metrics.end_to_end_seconds.observe(300)
        with metrics.jax_seconds["decide"].time():
            pass

        after = scrape(port)
    assert value(after, "dosetwin_observations_total") == 3
    assert value(after, "dosetwin_rejects_total", reason="unknown_unit") == 1
    assert value(after, "dosetwin_alerts_total", kind="predicted_low", priority="high") == 2
    assert value(after, "dosetwin_refusals_total", limit="maximum_bolus", effect="reduced") == 1
    assert value(after, "dosetwin_assimilate_only") == 1
    assert value(after, "dosetwin_consumer_lag_records", topic="readings") == 41
    assert value(after, "dosetwin_end_to_end_seconds_bucket", le="0.005") == 0
    assert value(after, "dosetwin_end_to_end_seconds_bucket", le="0.01") == 1
    assert value(after, "dosetwin_end_to_end_seconds_bucket", le="60.0") == 1
    assert value(after, "dosetwin_end_to_end_seconds_bucket", le="+Inf") == 2
    assert value(after, "dosetwin_jax_seconds_count", step="decide") == 1


def test_memory_is_that_of_this_process() -> None:
    with ControlMetrics() as metrics:
        samples = scrape(metrics.serve(LOOPBACK, 0))
    resident = psutil.Process(os.getpid()).memory_info().rss
    assert value(samples, "process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
    assert value(samples, "process_cpu_seconds_total") > 0


def test_a_taken_port_gives_the_next_free_one_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        with caplog.at_level(logging.WARNING), ShardMetrics("shard-1") as metrics:
            port = metrics.serve(LOOPBACK, wanted)
            assert port != wanted
            assert scrape(port)
    assert f"metrics port {wanted} is in use; shard-1 serves on {port}" in caplog.text


def test_a_closed_endpoint_frees_its_port() -> None:
    metrics = FleetMetrics()
    port = metrics.serve(LOOPBACK, 0)
    metrics.close()
    with FleetMetrics() as second:
        assert second.serve(LOOPBACK, port) == port


def test_an_address_of_another_machine_is_refused_with_a_remedy() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1") as caught:
        ShardMetrics().serve("192.0.2.1", 0)
    assert "metrics.address" in caught.value.remedy


def test_it_listens_on_the_given_address_only() -> None:
    with DashboardMetrics() as metrics:
        port = metrics.serve(LOOPBACK, 0)
        listening = {
            connection.laddr.ip
            for connection in psutil.Process().net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        }
    assert listening == {LOOPBACK}


def test_every_reason_and_outcome_of_the_contracts_is_counted_from_the_start() -> None:
    with ShardMetrics() as metrics:
        samples = scrape(metrics.serve(LOOPBACK, 0))
    reasons = {dict(labels)["reason"] for name, labels in samples if name == "dosetwin_rejects_total"}
    outcomes = {dict(labels)["outcome"] for name, labels in samples if name == "dosetwin_decisions_total"}
    assert reasons == set(REASONS)
    assert len(reasons) >= 15
    assert outcomes == set(OUTCOMES) == {"command", "proposal", "shadow", "refused", "none"}


@pytest.mark.parametrize("make", [ShardMetrics, ControlMetrics, FleetMetrics, DashboardMetrics])
def test_names_follow_prometheus(make: Callable[[], ProcessMetrics]) -> None:
    for family in make().registry.collect():
        if not family.name.startswith("dosetwin_"):
            continue
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb")), family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_bytes", "_records")), family.name


def test_two_processes_in_one_interpreter_do_not_collide() -> None:
    with ShardMetrics("shard-0") as first, ShardMetrics("shard-1") as second:
        first.observations.inc(5)
        one = scrape(first.serve(LOOPBACK, 0))
        two = scrape(second.serve(LOOPBACK, 0))
    assert value(one, "dosetwin_observations_total") == 5
    assert value(two, "dosetwin_observations_total") == 0


def test_latency_buckets_span_five_milliseconds_to_a_minute() -> None:
    assert LATENCY_BUCKETS_S[0] == 0.005
    assert LATENCY_BUCKETS_S[-1] == 60.0
    assert list(LATENCY_BUCKETS_S) == sorted(set(LATENCY_BUCKETS_S))
