"""kafka-python clients with the settings that were measured to matter, in one place."""

from __future__ import annotations

import socket
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from dosetwin.platform.errors import BrokerError
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import OVERSIZE_BYTES

BOOTSTRAP_TIMEOUT_MS = 10_000
"""How long a new client looks for the cluster before it says that none answers."""


def transactional_producer(kafka: KafkaSettings, transactional_id: str) -> KafkaProducer:
    """A producer for one writer of transactions; `init_transactions` fences an older one of the same id.

    retry_backoff_ms=5: with the default a commit takes 107 ms instead of 4-8, because the coordinator
    answers CONCURRENT_TRANSACTIONS for a moment after each one.
    """
    return _reach(
        kafka,
        lambda: KafkaProducer(
            bootstrap_servers=kafka.bootstrap.split(","),
            client_id=transactional_id,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            transactional_id=transactional_id,
            transaction_timeout_ms=20_000,
            retry_backoff_ms=5,
            linger_ms=5,
            batch_size=256 * 1024,
            max_request_size=OVERSIZE_BYTES * 3 // 2,
            compression_type=None,
        ),
    )


def producer(kafka: KafkaSettings, client_id: str, **overrides: Any) -> KafkaProducer:
    """An idempotent producer, acks=all, for everything outside the shards' transactions."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "client_id": client_id,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "enable_idempotence": True,
        "acks": "all",
        "linger_ms": 5,
        "batch_size": 128 * 1024,
        "max_request_size": OVERSIZE_BYTES,
    }
    return _reach(kafka, lambda: KafkaProducer(**(options | overrides)))


def consumer(kafka: KafkaSettings, client_id: str, **overrides: Any) -> KafkaConsumer:
    """A consumer that sees only committed records, commits nothing by itself, starts at the earliest."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "client_id": client_id,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        "fetch_max_bytes": 64 * 1024 * 1024,
        "fetch_max_wait_ms": 20,
    }
    return _reach(kafka, lambda: KafkaConsumer(**(options | overrides)))


def admin(kafka: KafkaSettings, client_id: str = "dosetwin-admin") -> KafkaAdminClient:
    """An admin client."""
    return _reach(
        kafka,
        lambda: KafkaAdminClient(
            bootstrap_servers=kafka.bootstrap.split(","),
            client_id=client_id,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
        ),
    )


def _reach(kafka: KafkaSettings, make: Any) -> Any:
    try:
        return make()
    except (socket.gaierror, KafkaError) as error:
        raise BrokerError(
            f"no Kafka broker answers at {kafka.bootstrap} ({error or type(error).__name__})",
            remedy="start one with `dosetwin broker`, or point at your cluster with --bootstrap HOST:PORT",
        ) from error
