from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from dosetwin.platform.asyncapi import contracts_of, document, write_document
from dosetwin.platform.codec import encode
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import TOPICS

DOCUMENT = document(KafkaSettings(topic_prefix="x-", partitions=4, bootstrap="a:1,b:2"))
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=FORMATS)


def test_the_document_has_the_shape_of_asyncapi_3() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert [server["host"] for server in DOCUMENT["servers"].values()] == ["a:1", "b:2"]
    assert set(DOCUMENT["channels"]) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        channel = DOCUMENT["channels"][topic.name]
        assert channel["address"] == f"x-{topic.name}"
        assert channel["bindings"]["kafka"]["partitions"] == 4
        assert set(channel["messages"]) == {contract.__name__ for contract in contracts_of(topic)}
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")


def test_every_reference_leads_somewhere() -> None:
    references = list(_references(DOCUMENT))
    assert len(references) > 50
    for reference in references:
        target: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert isinstance(target, dict)


def test_every_schema_is_a_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for message in DOCUMENT["components"]["messages"].values():
        jsonschema.Draft202012Validator.check_schema(message["bindings"]["kafka"]["key"])


def test_real_messages_of_every_contract_hold(examples: tuple[msgspec.Struct, ...]) -> None:
    assert {type(example).__name__ for example in examples} == set(DOCUMENT["components"]["messages"])
    for example in examples:
        validator(type(example).__name__).validate(json.loads(encode(example)))


def test_what_the_decoder_refuses_the_schema_refuses_too(examples: tuple[msgspec.Struct, ...]) -> None:
    """Each required or constrained field is broken once; the schema and msgspec must agree."""
    broken = 0
    changes: tuple[Any, ...] = ("without", None, [], -1, "", "2026-01-01T00:00:00", {"kind": "no such"})
    for example in examples:
        name = type(example).__name__
        whole = json.loads(encode(example))
        for field in whole:
            for change in changes:
                message = dict(whole)
                if change == "without":
                    del message[field]
                else:
                    message[field] = change
                by_schema = validator(name).is_valid(message)
                try:
                    msgspec.json.decode(json.dumps(message), type=type(example))
                    by_decoder = True
                except msgspec.ValidationError:
                    by_decoder = False
                # the decoder knows base64, which a schema does not; a schema asks for the tag, which
                # the decoder of a single contract does not need
                tag = field == "type" and change == "without"
                if not tag and type(example).__annotations__.get(field) != "bytes":
                    assert by_schema == by_decoder, (name, field, change)
                broken += not by_schema
    assert broken > 300


def test_a_message_of_another_contract_does_not_pass(examples: tuple[msgspec.Struct, ...]) -> None:
    for example in examples:
        for other in examples:
            if type(other) is not type(example):
                assert not validator(type(other).__name__).is_valid(json.loads(encode(example)))


def test_json_and_yaml_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_document(tmp_path / "out" / "a.json", "json")
    write_document(tmp_path / "a.yaml", "yaml")
    as_json = json.loads((tmp_path / "out" / "a.json").read_text())
    assert as_json == msgspec.yaml.decode((tmp_path / "a.yaml").read_bytes())
    capsys.readouterr()
    write_document(None, "json")
    assert json.loads(capsys.readouterr().out) == as_json


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
