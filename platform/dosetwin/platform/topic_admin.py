"""Declares the topics on a cluster as the contracts say, and tells where a cluster differs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from dosetwin.platform.errors import TopicError
from dosetwin.platform.kafka_clients import admin
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import TOPICS, Topic

TOPIC_ALREADY_EXISTS = 36


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """A topic on the cluster beside its declaration.

    `state`: "missing"; "differs" (`differences`: option -> (found, declared)); "as declared"; and after
    `declare_topics` also "created" and "updated".
    """

    name: str
    partitions: int
    replication: int
    state: Literal["missing", "differs", "as declared", "created", "updated"]
    differences: dict[str, tuple[str, str]] = {}


def declared_config(topic: Topic, replication: int) -> dict[str, str]:
    """The topic-level options that a topic must have on the cluster."""
    config = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        # with three copies a record is acknowledged by two, so that one node may be lost
        "min.insync.replicas": "2" if replication >= 3 else "1",
    }
    return config | topic.config


def declare_topics(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS) -> list[TopicState]:
    """Create the topics that are missing and correct the options that differ; any number of times.

    Raises TopicError where a topic has another partition count (nothing is changed then), BrokerError
    where no broker answers.
    """
    topics = tuple(topics)
    client = admin(kafka)
    try:
        before = {state.name: state for state in _states(client, kafka, topics)}
        for state in before.values():
            _check_partitions(state, kafka)
        missing = [topic for topic in topics if before[kafka.topic(topic.name)].state == "missing"]
        differing = [topic for topic in topics if before[kafka.topic(topic.name)].state == "differs"]
        if missing:
            _create(client, kafka, missing)
        if differing:
            _correct(client, kafka, differing)
        after = _states(client, kafka, topics)
        for state in after:
            # another process may have created one in between, with other settings
            _check_partitions(state, kafka)
    finally:
        client.close()
    became: dict[str, Literal["created", "updated"]] = {"missing": "created", "differs": "updated"}
    return [
        msgspec.structs.replace(state, state=became.get(before[state.name].state, state.state))
        for state in after
    ]


def topic_states(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS) -> list[TopicState]:
    """How the topics stand on the cluster; changes nothing."""
    client = admin(kafka)
    try:
        return _states(client, kafka, tuple(topics))
    finally:
        client.close()


def delete_topics(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS) -> None:
    """Delete the topics that exist, with everything on them."""
    client = admin(kafka)
    try:
        existing = set(client.list_topics())
        doomed = [name for name in (kafka.topic(topic.name) for topic in topics) if name in existing]
        if doomed:
            client.delete_topics(doomed)
    finally:
        client.close()


def _check_partitions(state: TopicState, kafka: KafkaSettings) -> None:
    if state.state == "missing" or state.partitions == kafka.partitions:
        return
    raise TopicError(
        f"topic {state.name} has {state.partitions} partitions; the settings say {kafka.partitions}",
        remedy=f"use what is there (DOSETWIN_KAFKA__PARTITIONS={state.partitions}), or start an empty set of "
        "topics beside it (DOSETWIN_KAFKA__TOPIC_PREFIX=new-). Adding partitions to a topic in use would "
        "move patients away from their twins, audit chains and pending commands, so it is never done",
    )


def _states(client: Any, kafka: KafkaSettings, topics: tuple[Topic, ...]) -> list[TopicState]:
    from kafka.admin import ConfigResource, ConfigResourceType

    existing = set(client.list_topics())
    names = [name for name in (kafka.topic(topic.name) for topic in topics) if name in existing]
    described: dict[str, Any] = {}
    configs: dict[str, dict[str, Any]] = {}
    if names:
        described = {found["name"]: found for found in client.describe_topics(names)}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        configs = client.describe_configs(resources, config_filter="all")["topic"]
    states = []
    for topic in topics:
        name = kafka.topic(topic.name)
        if name not in described:
            states.append(TopicState(name=name, partitions=0, replication=0, state="missing"))
            continue
        partitions = described[name]["partitions"]
        found = {option: str(value["value"]) for option, value in configs[name].items()}
        differences = {
            option: (found.get(option, "(unset)"), value)
            for option, value in declared_config(topic, kafka.replication).items()
            if _normal(option, found.get(option, "")) != _normal(option, value)
        }
        states.append(
            TopicState(
                name=name,
                partitions=len(partitions),
                replication=min((len(part["replica_nodes"]) for part in partitions), default=0),
                state="differs" if differences else "as declared",
                differences=differences,
            )
        )
    return states


def _normal(option: str, value: str) -> str:
    return ",".join(sorted(value.split(","))) if option == "cleanup.policy" else value


def _create(client: Any, kafka: KafkaSettings, topics: list[Topic]) -> None:
    from kafka.errors import for_code

    wanted = {
        kafka.topic(topic.name): {
            "num_partitions": kafka.partitions,
            "replication_factor": kafka.replication,
            "configs": declared_config(topic, kafka.replication),
        }
        for topic in topics
    }
    answer = client.create_topics(wanted, raise_errors=False)
    for topic in answer["topics"]:
        if topic["error_code"] not in (0, TOPIC_ALREADY_EXISTS):
            raise TopicError(
                f"topic {topic['name']} could not be created: {for_code(topic['error_code']).__name__} "
                f"({topic['error_message']})",
                remedy=f"check that the cluster has {kafka.replication} live nodes (kafka.replication) and "
                "that this client may create topics",
            )
    client.wait_for_topics(list(wanted), timeout_ms=30_000)


def _correct(client: Any, kafka: KafkaSettings, topics: list[Topic]) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    client.alter_configs(
        [
            ConfigResource(
                ConfigResourceType.TOPIC,
                kafka.topic(topic.name),
                configs=declared_config(topic, kafka.replication),
            )
            for topic in topics
        ]
    )
