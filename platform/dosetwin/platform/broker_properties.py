"""The server.properties of the single-node broker: one process is broker and controller (KRaft)."""

from __future__ import annotations

from pathlib import Path

from dosetwin.platform.topics import OVERSIZE_BYTES

LARGEST_BATCH_BYTES = OVERSIZE_BYTES * 3 // 2 + 1024 * 1024
"""A dead letter carries an oversized record base64-encoded; and a batch has a header."""


def server_properties(storage: Path, port: int, controller_port: int) -> dict[str, str]:
    """The broker's configuration, all on loopback."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": str(storage),
        # topics are declared from the contracts, never by accident
        "auto.create.topics.enable": "false",
        # one node: one copy of everything
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # a shard that was killed is noticed in seconds, and its transaction is out of readers' way
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "transaction.max.timeout.ms": "900000",
        "message.max.bytes": str(LARGEST_BATCH_BYTES),
        "replica.fetch.max.bytes": str(LARGEST_BATCH_BYTES),
        # bounded memory: the defaults are those of a server with many gigabytes
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.threads": "1",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.index.size.max.bytes": str(2 * 1024 * 1024),
        "log.segment.bytes": str(256 * 1024 * 1024),
        "log.cleaner.backoff.ms": "15000",
        "log.segment.delete.delay.ms": "5000",
    }


def write_properties(path: Path, properties: dict[str, str]) -> None:
    """Write a Java properties file (backslashes doubled, so that any path survives)."""
    lines = [f"{name}={value.replace(chr(92), chr(92) * 2)}" for name, value in properties.items()]
    path.write_text("\n".join(["# written by dosetwin at each start", *lines, ""]), encoding="utf-8")
