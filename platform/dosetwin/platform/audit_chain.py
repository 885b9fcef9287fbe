"""The hash chain of each audit partition: what was written cannot be changed without showing.

    hash_i = SHA-256(hash_{i-1} + canonical JSON of record i with an empty `hash`),   hash_{-1} = 64 zeros

It shows a changed, inserted, swapped or removed record between two that are kept. It cannot show that the
newest records were cut off, nor a chain that was written anew by somebody who may write the topic: publish
the newest hash elsewhere from time to time to close that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import AuditEntry, AuditRecord

GENESIS = "0" * 64


class BrokenLink(msgspec.Struct, frozen=True, kw_only=True):
    """The first record that does not follow from the one before it."""

    position: int
    """Its place among the records that were checked, from 0."""
    index: int
    """The index it carries."""
    reason: str


def link(
    previous: AuditRecord | None, partition: int, entries: Sequence[AuditEntry], at: datetime
) -> AuditRecord:
    """The next record of a partition's chain; `previous` is None for its first."""
    record = AuditRecord(
        partition=partition,
        index=0 if previous is None else previous.index + 1,
        at=at,
        entries=tuple(entries),
        previous=GENESIS if previous is None else previous.hash,
    )
    return msgspec.structs.replace(record, hash=_hash(record))


def verify(records: Iterable[AuditRecord]) -> BrokenLink | None:
    """The first broken link of one partition's records in the order of the topic; None where all hold.

    A first record with an index above 0 is taken as the anchor: retention has removed what came before.
    """
    before: AuditRecord | None = None
    for position, record in enumerate(records):
        reason = _fault(before, record)
        if reason:
            return BrokenLink(position=position, index=record.index, reason=reason)
        before = record
    return None


def _fault(before: AuditRecord | None, record: AuditRecord) -> str:
    if before is None:
        if record.index == 0 and record.previous != GENESIS:
            return "the first record does not start from 64 zeros"
    else:
        if record.partition != before.partition:
            return f"it says partition {record.partition} in the chain of partition {before.partition}"
        if record.index != before.index + 1:
            return f"index {record.index} follows {before.index}: a record is missing, repeated or swapped"
        if record.previous != before.hash:
            return "it does not carry the hash of the record before it"
    if record.hash != _hash(record):
        return "its content does not give its hash: it was changed after it was written"
    return ""


def _hash(record: AuditRecord) -> str:
    unsealed = msgspec.structs.replace(record, hash="") if record.hash else record
    return hashlib.sha256(record.previous.encode() + encode(unsealed)).hexdigest()
