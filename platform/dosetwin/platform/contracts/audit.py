"""Topic `audit`: the hash-chained record of every decision and human action."""

from __future__ import annotations

from typing import Literal

import msgspec

from dosetwin.platform.contracts.event import CONTRACT_VERSION, Instant, Pseudonym


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision, command, human action or enrolment change, by id, with the sentence that explains it."""

    patient: Pseudonym
    kind: Literal["decision", "command", "proposal", "action", "enrolment", "acknowledgement"]
    subject: str
    at: Instant
    outcome: str = ""
    reason: str = ""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, tag="audit", tag_field="type"):
    """A link of one partition's chain: `hash` = SHA-256(previous hash + canonical JSON, `hash` empty)."""

    partition: int
    index: int
    at: Instant
    entries: tuple[AuditEntry, ...]
    previous: str
    hash: str = ""
    contract: int = CONTRACT_VERSION
