"""Topic `dead-letters`: what was refused: the bytes, the reason, the source offset."""

from __future__ import annotations

from typing import Literal

import msgspec

from dosetwin.platform.contracts.event import CONTRACT_VERSION, Instant, Name

DeadLetterReason = Literal[
    "malformed",
    "contract_version",
    "too_large",
    "wrong_partition",
    "unknown_patient",
    "unknown_device",
    "unknown_quantity",
    "unknown_drug",
    "unknown_unit",
    "wrong_dimension",
    "impossible_value",
    "future_time",
    "too_late",
    "duplicate",
    "bad_signature",
    "bad_enrolment",
    "bad_override",
    "stale_enrolment",
    "unknown_subject",
    "clock_unknown",
]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, tag="dead_letter", tag_field="type"):
    """A refused record, or the refused part of one (`index` within its samples or administrations).

    `payload` holds the record's whole value, base64 in JSON. `detail` says what was found and expected.
    """

    reason: DeadLetterReason
    detail: str
    topic: Name
    partition: int
    offset: int
    at: Instant
    payload: bytes
    key: bytes = b""
    index: int | None = None
    patient: str = ""
    contract: int = CONTRACT_VERSION
