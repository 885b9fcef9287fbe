"""The message contracts as an AsyncAPI 3.0 document, made from the structs that encode and decode them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from dosetwin.platform.contracts import CONTRACT_VERSION
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_admin import declared_config
from dosetwin.platform.topics import SOURCES, TOPICS, Topic

SCHEMAS = "#/components/schemas/{name}"
NUMERIC_OPTIONS = ("retention.ms", "max.message.bytes", "min.insync.replicas")
KEY_SCHEMAS: dict[str, dict[str, Any]] = {
    "patient": {"type": "string", "pattern": "^p-[0-9a-f]{20}$"},
    "alert/event type": {
        "type": "string",
        "pattern": "^[0-9a-f-]{36}/(raised|escalated|acknowledged|cleared)$",
    },
    "partition/chunk": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
    "partition": {"type": "string", "pattern": "^[0-9]+$"},
}
"""JSON Schemas of the record keys, by the words in `Topic.key`."""


def document(kafka: KafkaSettings | None = None) -> dict[str, Any]:
    """The AsyncAPI document for the topics as `kafka` names and splits them (default: the settings')."""
    kafka = kafka or KafkaSettings()
    contracts = [contract for topic in TOPICS for contract in contracts_of(topic)]
    _, schemas = msgspec.json.schema_components(contracts, ref_template=SCHEMAS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dosetwin",
            "version": f"{CONTRACT_VERSION}.0.0",
            "description": "Event streams of digital twins for smart drug delivery. Payloads are JSON; "
            "units are UCUM; times are RFC 3339 with a zone and mean event time; patients are pseudonyms. "
            "Records of one patient lie on partition murmur2(patient) mod P of every topic. "
            "Not a medical device.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            f"broker{index}": {"host": host, "protocol": "kafka", "description": "Apache Kafka"}
            for index, host in enumerate(kafka.bootstrap.split(","), 1)
        },
        "channels": {topic.name: _channel(topic, kafka) for topic in TOPICS},
        "operations": {_operation_id(topic): _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {contract.__name__: _message(contract) for contract in contracts},
            "schemas": {name: _plain(schema) for name, schema in sorted(schemas.items())},
        },
    }


def contracts_of(topic: Topic) -> tuple[type[msgspec.Struct], ...]:
    """The structs that travel on a topic."""
    return get_args(topic.contract) or (topic.contract,)


def write_document(output: Path | None, form: Literal["json", "yaml"]) -> None:
    """Write the document to a file, or to standard output."""
    from dosetwin.platform.settings import load_settings

    content = document(load_settings().kafka)
    if form == "json":
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    else:
        text = msgspec.yaml.encode(content).decode()
    if output is None:
        sys.stdout.write(text)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    print(f"{output}: {len(content['channels'])} channels, {len(content['components']['messages'])} messages")


def _channel(topic: Topic, kafka: KafkaSettings) -> dict[str, Any]:
    config = declared_config(topic, kafka.replication)
    options: dict[str, Any] = {
        name: int(value) if name in NUMERIC_OPTIONS else value for name, value in config.items()
    }
    options["cleanup.policy"] = config["cleanup.policy"].split(",")
    return {
        "address": kafka.topic(topic.name),
        "title": topic.name,
        "summary": topic.summary,
        "messages": {
            contract.__name__: {"$ref": f"#/components/messages/{contract.__name__}"}
            for contract in contracts_of(topic)
        },
        "bindings": {
            "kafka": {
                "topic": kafka.topic(topic.name),
                "partitions": kafka.partitions,
                "replicas": kafka.replication,
                "topicConfiguration": options,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation_id(topic: Topic) -> str:
    return f"{'receive' if topic in SOURCES else 'send'}-{topic.name}"


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "receive" if topic in SOURCES else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.summary,
        "messages": [
            {"$ref": f"#/channels/{topic.name}/messages/{contract.__name__}"}
            for contract in contracts_of(topic)
        ],
    }


def _message(contract: type[msgspec.Struct]) -> dict[str, Any]:
    topic = next(topic for topic in TOPICS if contract in contracts_of(topic))
    key = KEY_SCHEMAS.get(topic.key, {"type": "string"})
    return {
        "name": contract.__name__,
        "title": contract.__name__,
        "summary": (contract.__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "payload": {"$ref": SCHEMAS.format(name=contract.__name__)},
        "bindings": {"kafka": {"key": key | {"description": topic.key}, "bindingVersion": "0.5.0"}},
    }


def _plain(schema: Any) -> Any:
    """AsyncAPI's discriminator is the property's name; msgspec writes OpenAPI's object."""
    if isinstance(schema, dict):
        return {
            name: value["propertyName"]
            if name == "discriminator" and isinstance(value, dict)
            else _plain(value)
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema
