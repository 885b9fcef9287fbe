"""Clock, pseudonyms, partitions and the codec: small things that everything stands on."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.codec import decode, decoder, encode
from dosetwin.platform.contracts import Command, Dose, Proposal, Reading
from dosetwin.platform.errors import SettingsError
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.topics import TOPICS, partition_of

seconds = st.floats(1e9, 2e9)


@given(st.floats(0.01, 1e4), seconds, seconds, seconds)
def test_the_clock_maps_there_and_back(speed: float, wall: float, event: float, now: float) -> None:
    clock = PlatformClock(speed, wall, event)
    assert clock.event_s(wall) == pytest.approx(event)
    assert clock.wall_s(clock.event_s(now)) == pytest.approx(now, abs=1e-3)
    assert clock.event_s(now + 10) - clock.event_s(now) == pytest.approx(10 * speed, rel=1e-3, abs=1e-3)
    assert clock.sleep_s(60 * speed) == pytest.approx(60)


def test_without_anchors_the_clock_is_the_wall_clock() -> None:
    before = time.time()
    now = PlatformClock().now()
    assert before <= now.timestamp() <= time.time()
    assert now.utcoffset() == timedelta(0)
    assert instant(0.0) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_clock_that_does_not_run_forward_is_refused(speed: float) -> None:
    with pytest.raises(SettingsError):
        PlatformClock(speed)


def test_a_pseudonym_is_the_keyed_hmac_and_valid_on_the_wire() -> None:
    key = bytes(range(32))
    expected = hmac.new(key, b"4711", hashlib.sha256).hexdigest()[:20]
    assert pseudonym("4711", key) == f"p-{expected}"
    assert pseudonym("4711", bytes(32)) != pseudonym("4711", key)
    assert pseudonym("4712", key) != pseudonym("4711", key)
    assert "4711" not in pseudonym("4711", key).removeprefix("p-")[:4]


def test_partitions_are_those_of_the_java_client() -> None:
    """Vectors of Kafka's own UtilsTest.testMurmur2."""
    vectors = {
        "21": -973932308,
        "foobar": -790332482,
        "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829,
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        "abc": 479470107,
    }
    for key, murmur2 in vectors.items():
        assert partition_of(key, 1 << 31) == murmur2 & 0x7FFFFFFF


def test_every_message_comes_back_as_it_went(examples: tuple[msgspec.Struct, ...]) -> None:
    for example in examples:
        payload = encode(example)
        assert decode(payload, type(example)) == example
        read = decode(payload, type(example))
        assert decode(encode(read), type(example)) == read
        assert encode(decode(encode(read), type(example))) == encode(read)
    by_topic = {topic.name: decoder(topic.contract) for topic in TOPICS}
    known = sum(
        any(_decodes(by_topic[topic.name], encode(example)) == example for topic in TOPICS)
        for example in examples
    )
    assert known == len(examples)


def test_equal_messages_are_equal_bytes(examples: tuple[msgspec.Struct, ...]) -> None:
    reading = next(example for example in examples if isinstance(example, Reading))
    assert encode(reading) == encode(msgspec.structs.replace(reading))
    one = msgspec.json.decode(b'{"b": 1.0, "a": 2.0}', type=dict[str, float])
    other = msgspec.json.decode(b'{"a": 2.0, "b": 1.0}', type=dict[str, float])
    first, second = (encode(_alert(evidence)) for evidence in (one, other))
    assert first == second


def test_a_union_topic_tells_its_messages_apart(command: Command) -> None:
    assert isinstance(decode(encode(command), Command | Proposal), Command)  # type: ignore[arg-type]  # a union


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"2026-03-01T12:00:00.250000Z"', b'"2026-03-01T12:00:00"'),
        (b'"patient":"p-', b'"patient":"Ada '),
        (b'"samples":[', b'"samples":[],"x":['),
        (b'"sequence":5', b'"sequence":-5'),
        (b'"value":142.0', b'"value":NaN'),
    ],
)
def test_a_broken_reading_is_refused(
    examples: tuple[msgspec.Struct, ...], before: bytes, after: bytes
) -> None:
    payload = encode(next(example for example in examples if isinstance(example, Reading)))
    assert before in payload
    with pytest.raises(msgspec.DecodeError):
        decode(payload.replace(before, after), Reading)


def test_a_zone_other_than_utc_is_the_same_instant(examples: tuple[msgspec.Struct, ...]) -> None:
    dose = next(example for example in examples if isinstance(example, Dose))
    moved = msgspec.structs.replace(
        dose, sent_at=dose.sent_at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    )
    assert decode(encode(moved), Dose).sent_at == dose.sent_at


def _decodes(decoder: msgspec.json.Decoder[object], payload: bytes) -> object:
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        return None


def _alert(evidence: dict[str, float]) -> msgspec.Struct:
    from dosetwin.platform.contracts import AlertRaised

    return AlertRaised(
        patient="p-" + "0" * 20,
        alert="a" * 36,
        at=instant(1.7e9),
        kind="x",
        priority="low",
        message="m",
        evidence=evidence,
    )
