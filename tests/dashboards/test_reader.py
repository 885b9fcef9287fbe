"""The background reader on a real broker: committed records only, memory of its place, honest about loss."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dosetwin.dashboards.reader import Reader
from dosetwin.dashboards.view_models.header import header, trouble
from dosetwin.platform import kafka_clients
from dosetwin.platform.broker import Broker, free_port
from dosetwin.platform.codec import encode
from dosetwin.platform.settings import ClockSettings, KafkaSettings, Settings
from dosetwin.platform.topic_admin import declare_topics
from dosetwin.platform.topics import partition_of
from tests.dashboards.folding import START_S, enrolment, patient_id, reading
from tests.dashboards.synthetic_ward import SyntheticWard

pytestmark = pytest.mark.broker


def test_a_ward_is_read_whole_and_then_followed(settings: Settings) -> None:
    now = time.time()
    settings = settings.model_copy(
        update={"clock": ClockSettings(speed=300, wall_anchor_s=now, event_anchor_s=now)}
    )
    ward = SyntheticWard(settings, 8)
    ward.enrol(now)
    ward.prefill(now, hours=2)
    ward.flush()
    reader = Reader(settings).start()
    try:
        seen = reader.wait_for(lambda each: each.reader.connection == "live", 60)
        assert seen is not None, reader.snapshot.reader
        assert len(seen.ward) == 8
        assert {flow.undecodable for flow in seen.flows.values()} == {0}
        before = seen.flows["forecasts"].records
        ward.step(settings.platform_clock.event_s())
        ward.flush()
        assert reader.wait_for(lambda each: each.flows["forecasts"].records == before + 8, 30) is not None
    finally:
        reader.close()
        ward.close()


def test_only_committed_records_are_shown_and_their_markers_do_not_look_like_lag(settings: Settings) -> None:
    kafka = settings.kafka
    producer = kafka_clients.transactional_producer(kafka, "reader-test")
    producer.init_transactions()
    where = partition_of(patient_id(1), kafka.partitions)
    for step, commit in enumerate((True, False, True)):
        producer.begin_transaction()
        producer.send(kafka.topic("enrolments"), encode(enrolment(1)), key=b"1", partition=where)
        producer.send(kafka.topic("readings"), encode(reading(1, step, 100.0 + step)), partition=where)
        producer.flush()
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    reader = Reader(settings.model_copy(update={"clock": ClockSettings(event_anchor_s=START_S)})).start()
    try:
        seen = reader.wait_for(lambda each: each.reader.connection == "live", 60)
        assert seen is not None, reader.snapshot.reader
        assert seen.patients[patient_id(1)].readings["glucose"].rows[:, 1].tolist() == [100.0, 102.0]
        assert reader.wait_for(lambda each: each.reader.lag_records == 0, 20) is not None
        assert reader.snapshot.reader.behind_s < 10
    finally:
        reader.close()


def test_a_lost_broker_is_said_and_reading_goes_on_where_it_was(tmp_path: Path) -> None:
    port = free_port()
    with Broker(tmp_path / "broker", port=port) as broker:
        kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=1)
        declare_topics(kafka)
        settings = Settings(data_dir=tmp_path / "data", kafka=kafka)
        producer = kafka_clients.producer(kafka, "t")
        producer.send("enrolments", encode(enrolment(1)), key=b"1", partition=0)
        producer.send("readings", encode(reading(1, 1, 111)), partition=0).get(timeout=20)
        producer.close()
        reader = Reader(settings).start()
        assert reader.wait_for(lambda each: each.reader.connection == "live", 60) is not None
    lost = reader.wait_for(lambda each: each.reader.connection == "reconnecting", 60)
    assert lost is not None, reader.snapshot.reader
    assert lost.ward.value[0] == 111, "what was read stays on the screen"
    later = time.time() + 12
    assert "has not answered" in trouble(header(reader.snapshot, later, "p", "r"))
    with Broker(tmp_path / "broker", port=port):
        back = reader.wait_for(lambda each: each.reader.connection == "live", 90)
        assert back is not None, reader.snapshot.reader
        assert back.reader.reconnections >= 1
        producer = kafka_clients.producer(kafka, "t")
        producer.send("readings", encode(reading(1, 2, 122)), partition=0).get(timeout=20)
        producer.close()
        assert reader.wait_for(lambda each: each.ward.value.tolist() == [122.0], 30) is not None
        assert reader.snapshot.patients[patient_id(1)].readings["glucose"].count == 2, "nothing is read twice"
        reader.close()
