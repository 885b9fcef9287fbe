"""The checks of `dosetwin doctor` that ask the cluster: broker, topics, clock."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from dosetwin.platform.finding import Finding
from dosetwin.platform.settings import Settings

WARN_CLOCK_S, FAIL_CLOCK_S = 0.5, 5.0


def cluster_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the broker answers, with enough nodes; then topics, then its clock."""
    kafka = settings.kafka
    if not any(_connects(address) for address in kafka.bootstrap.split(",")):
        yield Finding(
            check="broker",
            status="warn",
            found=f"nothing listens at {kafka.bootstrap}",
            remedy="start one with `dosetwin broker` (or all with `dosetwin demo`), or give --bootstrap",
        )
        return
    from dosetwin.platform.kafka_clients import admin

    client = admin(kafka)
    try:
        nodes = client.describe_cluster()["brokers"]
    finally:
        client.close()
    if len(nodes) < kafka.replication:
        yield Finding(
            check="broker",
            status="fail",
            found=f"{len(nodes)} live nodes at {kafka.bootstrap}; kafka.replication is {kafka.replication}",
            remedy="start the missing nodes, or lower kafka.replication",
        )
    else:
        yield Finding(check="broker", status="ok", found=f"{len(nodes)} live nodes at {kafka.bootstrap}")
    yield from _topics(settings)


def _topics(settings: Settings) -> Iterator[Finding]:
    from dosetwin.platform.topic_admin import topic_states

    kafka = settings.kafka
    states = topic_states(kafka)
    for state in states:
        if state.state != "missing" and state.partitions != kafka.partitions:
            yield Finding(
                check="topics",
                status="fail",
                found=f"{state.name} has {state.partitions} partitions; the settings say {kafka.partitions}",
                remedy="`dosetwin topics` says how to go on",
            )
            return
    off = [f"{state.name} {state.state}" for state in states if state.state != "as declared"]
    if off:
        yield Finding(
            check="topics",
            status="warn",
            found=f"{len(off)} of {len(states)}: {', '.join(off)}",
            remedy=f"run `dosetwin topics --bootstrap {kafka.bootstrap}`",
        )
        return
    yield Finding(
        check="topics", status="ok", found=f"{len(states)} as declared, {kafka.partitions} partitions"
    )
    yield _broker_clock(settings)


def _broker_clock(settings: Settings) -> Finding:
    """Compares the broker's append times with this machine's clock, by the newest record of any source."""
    from kafka import TopicPartition

    from dosetwin.platform.kafka_clients import consumer
    from dosetwin.platform.topics import ACKNOWLEDGEMENTS, ACTIONS, DOSES, ENROLMENTS, READINGS

    kafka = settings.kafka
    stamped = (READINGS, DOSES, ENROLMENTS, ACTIONS, ACKNOWLEDGEMENTS)  # LogAppendTime: the broker's clock
    reader = consumer(kafka, "dosetwin-doctor", group_id=None)
    try:
        places = [TopicPartition(kafka.topic(t.name), p) for t in stamped for p in range(kafka.partitions)]
        ends = {place: end for place, end in reader.end_offsets(places).items() if end > 0}
        newest = 0.0
        if ends:
            reader.assign(list(ends))
            for place, end in ends.items():
                reader.seek(place, end - 1)
            for records in reader.poll(timeout_ms=1000).values():
                newest = max([newest, *(record.timestamp / 1000 for record in records)])
    finally:
        reader.close()
    ahead = newest - time.time()
    if newest == 0.0:
        return Finding(check="broker clock", status="ok", found="no records yet to compare with")
    found = (
        f"newest record stamped {-ahead:.0f} s ago" if ahead <= 0 else f"{ahead:.1f} s ahead of this machine"
    )
    if ahead <= WARN_CLOCK_S:
        return Finding(check="broker clock", status="ok", found=found)
    return Finding(
        check="broker clock",
        status="fail" if ahead > FAIL_CLOCK_S else "warn",
        found=f"the broker's clock is at least {found}",
        remedy="synchronise both machines (chrony, systemd-timesyncd): expiries and watchdogs depend on it",
    )


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return False
    return True
