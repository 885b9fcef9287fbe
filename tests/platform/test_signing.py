from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import AcknowledgeAlert, Action, Command, Order, Precondition
from dosetwin.platform.errors import SignatureError
from dosetwin.platform.signing import Signer, Verifier, load_or_create_key


def test_a_signature_survives_the_wire(command: Command, action: Action) -> None:
    signer = Signer(bytes(range(32)))
    verifier = Verifier(signer.public_key)
    verifier.verify(decode(encode(signer.sign(command)), Command))
    verifier.verify(decode(encode(signer.sign(action)), Action))


def test_an_amount_given_as_an_integer_is_signed_as_it_will_be_read(command: Command) -> None:
    signer = Signer(bytes(range(32)))
    order = msgspec.structs.replace(command.orders[0], amount=2, duration_s=600)
    signed = signer.sign(msgspec.structs.replace(command, orders=(order,)))
    Verifier(signer.public_key).verify(decode(encode(signed), Command))


def test_any_changed_field_is_refused(command: Command, action: Action) -> None:
    signer = Signer(bytes(range(32)))
    verifier = Verifier(signer.public_key)
    count = 0
    for signed in (signer.sign(command), signer.sign(action)):
        for field in msgspec.structs.fields(type(signed)):
            for changed in _others(getattr(signed, field.name)):
                forged = msgspec.structs.replace(signed, **{field.name: changed})
                assert forged != signed
                with pytest.raises(SignatureError):
                    verifier.verify(forged)
                count += 1
    fields = len(msgspec.structs.fields(Command)) + len(msgspec.structs.fields(Action))
    assert count >= fields


def test_every_part_of_an_order_is_covered(command: Command) -> None:
    signer = Signer(bytes(range(32)))
    verifier = Verifier(signer.public_key)
    signed = signer.sign(command)
    for field in msgspec.structs.fields(Order):
        for changed in _others(getattr(signed.orders[0], field.name)):
            order = msgspec.structs.replace(signed.orders[0], **{field.name: changed})
            with pytest.raises(SignatureError):
                verifier.verify(msgspec.structs.replace(signed, orders=(order,)))
    with pytest.raises(SignatureError):
        verifier.verify(msgspec.structs.replace(signed, orders=signed.orders * 2))


def test_unsigned_and_foreign_messages_are_refused(command: Command) -> None:
    mine, other = Signer(bytes(range(32))), Signer(bytes(32))
    verifier = Verifier(mine.public_key)
    with pytest.raises(SignatureError, match="signed by key"):
        verifier.verify(command)
    with pytest.raises(SignatureError, match="signed by key"):
        verifier.verify(other.sign(command))
    # the name of a trusted key does not help without the key
    with pytest.raises(SignatureError, match="does not match"):
        verifier.verify(msgspec.structs.replace(other.sign(command), key_id=mine.key_id))
    with pytest.raises(SignatureError):
        Verifier().verify(mine.sign(command))
    with pytest.raises(SignatureError, match="does not match"):
        verifier.verify(msgspec.structs.replace(mine.sign(command), signature="no base64!"))


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "commands.hex"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("abcd")
    with pytest.raises(SignatureError, match="2 bytes") as caught:
        load_or_create_key(path)
    assert str(path) in caught.value.remedy


def _others(value: Any) -> Iterator[Any]:
    """Other values of the same kind."""
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
        case str():
            yield value + "x"
            if value:
                yield value[:-1]
        case datetime():
            yield value + timedelta(microseconds=1)
        case Precondition():
            yield msgspec.structs.replace(value, enrolment_version=value.enrolment_version + 1)
            yield msgspec.structs.replace(value, last_acknowledged=None)
        case tuple():
            yield (*value, value[0])
        case None:
            yield "x"
        case _:
            yield AcknowledgeAlert(alert="a" * 36)
