"""What every event shares: its contract version, its patient, time that carries a zone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

CONTRACT_VERSION = 1
"""Version of the message contracts; a message of another version is a dead letter, never a guess."""

Instant = Annotated[datetime, msgspec.Meta(tz=True, description="event time, RFC 3339 with a zone")]
Pseudonym = Annotated[
    str,
    msgspec.Meta(
        pattern="^p-[0-9a-f]{20}$",
        description="keyed HMAC of the local patient identifier; never a name or a record number",
    ),
]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Unit = Annotated[str, msgspec.Meta(min_length=1, max_length=40, description="UCUM unit")]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Sequence = Annotated[
    int, msgspec.Meta(ge=0, description="counts up by one for each message of a device's boot")
]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of every event: the version of its contract and the patient it is about."""

    patient: Pseudonym
    contract: int = CONTRACT_VERSION


class DeviceEvent(Event, frozen=True, kw_only=True):
    """An event that a device sent; (device, boot, sequence) recognises a repeat."""

    device: Name
    boot: Name
    sequence: Sequence
    sent_at: Instant
