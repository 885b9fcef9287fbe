from __future__ import annotations

import json
import time
from datetime import timedelta

import msgspec
import pytest
from typer.testing import CliRunner

from dosetwin.platform.audit_chain import link
from dosetwin.platform.codec import encode
from dosetwin.platform.command_line import application
from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    AuditEntry,
    AuditRecord,
    Command,
    DeadLetter,
    Dose,
    Enrolment,
    Event,
    Forecast,
    Proposal,
    Reading,
)
from dosetwin.platform.errors import TopicError
from dosetwin.platform.inspect_audit import verify_audit
from dosetwin.platform.inspect_patient import describe
from dosetwin.platform.kafka_clients import producer, transactional_producer
from dosetwin.platform.patient_record import gather
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topic_reader import read_to_end
from dosetwin.platform.topics import AUDIT, READINGS, partition_of

pytestmark = pytest.mark.broker

TOPIC_OF: dict[type, str] = {
    Reading: "readings",
    Dose: "doses",
    Enrolment: "enrolments",
    Action: "actions",
    Command: "commands",
    Proposal: "commands",
    Acknowledgement: "acknowledgements",
    AlertRaised: "alerts",
    AlertEscalated: "alerts",
    AlertAcknowledged: "alerts",
    AlertCleared: "alerts",
    DeadLetter: "dead-letters",
    Forecast: "forecasts",
}


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    return settings


def publish(kafka: KafkaSettings, messages: tuple[msgspec.Struct, ...], patient: str) -> None:
    writer = producer(kafka, "test")
    for message in messages:
        if isinstance(message, Event | DeadLetter):
            moved = msgspec.structs.replace(message, patient=patient)
            writer.send(
                kafka.topic(TOPIC_OF[type(message)]),
                encode(moved),
                key=f"{patient}/{type(message).__name__}".encode(),
                partition=partition_of(patient, kafka.partitions),
            )
    writer.flush()
    writer.close()


def test_a_patient_is_told_whole_and_alone(
    environment: Settings, examples: tuple[msgspec.Struct, ...]
) -> None:
    kafka = environment.kafka
    patient = pseudonym("4711", environment.pseudonym_key())
    other = next(
        name
        for name in (pseudonym(str(i), b"k") for i in range(999))
        if partition_of(name, kafka.partitions) == partition_of(patient, kafka.partitions)
    )
    publish(kafka, examples, patient)
    publish(kafka, (*examples[:2], examples[-1]), other)
    record = gather(kafka, patient)
    assert record.patient == patient
    assert (len(record.readings), len(record.doses), len(record.commands)) == (1, 1, 2)
    now = next(example for example in examples if isinstance(example, AlertRaised)).at
    text = "\n".join(describe(record, now + timedelta(minutes=1), last=3))
    for words in (
        "t1d-insulin, advisory, version 3, ward 5B",
        "glucose 142 mg/dL from cgm-1",
        "vancomycin < 2 mg/L from cgm-1, suspect",
        "insulin at 0.9 U/h from now",
        "quinidine 200 mg missed: asleep",
        "Decision",
        "because rising, 12 % above target",
        "reduced by bolus: found 9 U, bound 5 U: hard limit",
        "predicted 140 (90 %: 120 to 165) mg/dL",
        "unknown_unit: mcg",
    ):
        assert words in text, words
    assert "4711" not in text

    runner = CliRunner()
    by_local_id = runner.invoke(application(), ["inspect", "--local-id", "4711"])
    assert by_local_id.exit_code == 0
    assert f"Patient {patient}" in by_local_id.output
    assert "4711" not in by_local_id.output
    everyone = runner.invoke(application(), ["inspect"])
    assert everyone.exit_code == 0
    assert patient in everyone.output
    unknown = runner.invoke(application(), ["inspect", "p-" + "f" * 20])
    assert unknown.exit_code == 1
    assert "No topic mentions" in unknown.output


def test_the_audit_is_verified_and_a_broken_link_pointed_at(environment: Settings) -> None:
    kafka = environment.kafka
    runner = CliRunner()
    writer = producer(kafka, "test")
    chains: dict[int, list[AuditRecord]] = {partition: [] for partition in range(kafka.partitions)}
    at = environment.platform_clock.now()
    for i in range(40):
        partition = i % kafka.partitions
        entry = AuditEntry(patient="p-" + "0" * 20, kind="decision", subject=str(i), at=at)
        previous = chains[partition][-1] if chains[partition] else None
        chains[partition].append(link(previous, partition, [entry], at))
        writer.send(kafka.topic("audit"), encode(chains[partition][-1]), partition=partition)
    writer.flush()
    assert {partition: verdict[:2] for partition, verdict in verify_audit(kafka).items()} == dict.fromkeys(
        range(kafka.partitions), (10, None)
    )
    good = runner.invoke(application(), ["inspect", "--audit"])
    assert (good.exit_code, "every link holds" in good.output) == (0, True)

    forged = msgspec.structs.replace(link(chains[2][-1], 2, [], at), at=at + timedelta(days=1))
    for record in (forged, link(forged, 2, [], at)):
        writer.send(kafka.topic("audit"), encode(record), partition=2)
    writer.send(kafka.topic("audit"), encode(link(chains[1][-1], 3, [], at)), partition=1)
    writer.send(kafka.topic("audit"), b"{", partition=3)
    writer.close()
    verdicts = verify_audit(kafka)
    assert verdicts[0][1] is None
    found = {
        partition: (verdict[1].position, verdict[2]) for partition, verdict in verdicts.items() if verdict[1]
    }
    assert found == {1: (10, 10), 2: (10, 10), 3: (10, 10)}
    bad = runner.invoke(application(), ["inspect", "--audit"])
    assert bad.exit_code == 1
    assert f"{kafka.topic('audit')}/2: broken at offset 10" in bad.output.replace("\n", " ")


def test_only_committed_records_are_read_and_the_reader_ends(
    kafka: KafkaSettings, examples: tuple[msgspec.Struct, ...]
) -> None:
    reading = next(example for example in examples if isinstance(example, Reading))
    writer = transactional_producer(kafka, kafka.group("writer"))
    writer.init_transactions()
    for sequence in range(30):
        writer.begin_transaction()
        message = msgspec.structs.replace(reading, sequence=sequence)
        writer.send(kafka.topic("readings"), encode(message), partition=sequence % 2)
        if sequence % 3:
            writer.commit_transaction()
        else:
            writer.flush()
            writer.abort_transaction()
    writer.begin_transaction()
    writer.send(kafka.topic("readings"), encode(reading), partition=0)
    writer.flush()
    # the last transaction is still open: it must neither be seen nor hold the reader up
    seen = [r.message.sequence for r in read_to_end(kafka, [READINGS]) if isinstance(r.message, Reading)]
    assert sorted(seen) == [sequence for sequence in range(30) if sequence % 3]
    writer.abort_transaction()
    writer.close()


def test_a_topic_that_is_not_there_is_named(broker_bootstrap: str) -> None:
    with pytest.raises(TopicError, match="nowhere-audit"):
        list(read_to_end(KafkaSettings(bootstrap=broker_bootstrap, topic_prefix="nowhere-"), [AUDIT]))


def test_the_doctor_sees_broker_topics_and_clock(
    environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    healthy = runner.invoke(application(), ["doctor", "--json"])
    findings = {finding["check"]: finding for finding in json.loads(healthy.output)["findings"]}
    assert healthy.exit_code == 0, findings
    assert {"java", "jars", "ports", "disk", "memory", "keys", "clock", "broker", "topics"} <= findings.keys()
    assert findings["topics"]["status"] == "ok"
    monkeypatch.setenv("DOSETWIN_KAFKA__PARTITIONS", "9")
    monkeypatch.setenv("DOSETWIN_CLOCK__SPEED", "60")
    ill = runner.invoke(application(), ["doctor"])
    assert ill.exit_code == 1
    assert "4 partitions; the settings say 9" in ill.output
    assert "no anchor" in ill.output
    key = environment.pseudonym_key()
    (environment.data_dir / "keys" / "pseudonym.hex").chmod(0o644)
    loose = runner.invoke(application(), ["doctor"])
    assert "chmod 600" in loose.output
    assert key.hex() not in loose.output


def test_topics_command_tells_and_declares(environment: Settings) -> None:
    runner = CliRunner()
    assert runner.invoke(application(), ["topics"]).exit_code == 0
    assert runner.invoke(application(), ["topics", "--check"]).exit_code == 0
    from dosetwin.platform.topic_admin import delete_topics

    delete_topics(environment.kafka, [AUDIT])
    for _ in range(100):  # the broker deletes in its own time
        checked = runner.invoke(application(), ["topics", "--check"])
        if checked.exit_code == 1:
            break
        time.sleep(0.2)
    assert "missing" in checked.output
    declared = runner.invoke(application(), ["topics"])
    assert declared.exit_code == 0
    assert "created" in declared.output
