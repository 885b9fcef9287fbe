"""The demo as a person runs it: the whole platform without a screen, a shard killed, everything counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from dosetwin.platform.asyncapi import document
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_admin import delete_topics
from dosetwin.platform.topic_reader import read_to_end
from dosetwin.platform.topics import TOPICS

KEYS = {
    "patients",
    "readings",
    "observations",
    "dead_letters",
    "decisions",
    "commands_issued",
    "commands_applied",
    "commands_refused",
    "commands_expired",
    "commands_lost",
    "commands_doubled",
    "alerts",
    "latency_ms",
    "seconds_to_first_command",
    "shard_restarts",
}


@pytest.mark.broker
@pytest.mark.timeout(900)
def test_a_demo_loses_nothing_and_its_messages_keep_the_published_contracts(
    broker_bootstrap: str, tmp_path: Path
) -> None:
    # the prefix that the demo takes for its topics is in its output, so that they can be read afterwards
    demo = subprocess.run(
        [
            *(sys.executable, "-m", "dosetwin.platform.command_line", "demo", "--headless", "--json"),
            *("--patients", "16", "--for", "20", "--kill-shards", "1", "--data-dir", str(tmp_path)),
            *("--bootstrap", broker_bootstrap, "--seed", "3"),
        ],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    result = json.loads(demo.stdout.splitlines()[-1])
    assert set(result) == KEYS
    assert result["patients"] == 16
    assert result["readings"] > 16
    assert result["commands_lost"] == result["commands_doubled"] == 0
    assert result["commands_issued"] > 0
    assert result["commands_issued"] == (
        result["commands_applied"] + result["commands_refused"] + result["commands_expired"]
    )
    assert result["shard_restarts"] >= 1
    prefix = next(word for word in demo.stderr.split() if word.startswith("demo-")).removesuffix("*")
    kafka = KafkaSettings(bootstrap=broker_bootstrap, topic_prefix=prefix)
    try:
        whole = document(kafka)
        kinds = set()
        for topic in TOPICS:
            names = whole["channels"][topic.name]["messages"]
            schemas = [{"$ref": f"#/components/schemas/{name}"} for name in names]
            validator = jsonschema.Draft202012Validator({"anyOf": schemas, "components": whole["components"]})
            for count, record in enumerate(read_to_end(kafka, (topic,))):
                if record.message is None:
                    continue  # malformed on purpose: it has its dead letter
                kinds.add(type(record.message).__name__)
                if count < 200:
                    validator.validate(json.loads(record.value))
        assert {"Reading", "Dose", "Enrolment", "Forecast", "Command", "Acknowledgement"} <= kinds
        assert {"AuditRecord", "TwinSnapshot"} <= kinds
    finally:
        delete_topics(kafka)
