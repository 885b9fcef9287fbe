from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dosetwin.platform.audit_chain import GENESIS, link, verify
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import AuditEntry, AuditRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(i: int) -> AuditEntry:
    return AuditEntry(
        patient="p-" + f"{i:020x}",
        kind="decision",
        subject=f"d{i}",
        at=START,
        outcome="command",
        reason="höher",
    )


def chain(length: int, partition: int = 3) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for i in range(length):
        previous = records[-1] if records else None
        records.append(link(previous, partition, [entry(i), entry(i + 1)], START + timedelta(seconds=i)))
    return records


def test_a_chain_holds_and_survives_the_wire() -> None:
    records = chain(20)
    assert records[0].previous == GENESIS
    assert verify(records) is None
    assert verify([decode(encode(record), AuditRecord) for record in records]) is None
    assert verify(records[7:]) is None, "retention may remove the beginning"
    assert verify([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": START + timedelta(days=1)},
        {"entries": (entry(99),)},
        {"entries": ()},
        {"previous": "1" * 64},
        {"hash": "f" * 64},
        {"index": 6},
        {"partition": 2},
        {"contract": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_changed_field_breaks_the_link_where_it_was_changed(change: dict[str, object]) -> None:
    records = chain(12)
    records[5] = msgspec.structs.replace(records[5], **change)
    broken = verify(records)
    assert broken is not None
    assert broken.position == 5
    assert broken.reason


def test_removed_repeated_and_swapped_records_show() -> None:
    records = chain(12)
    removed = verify(records[:5] + records[6:])
    repeated = verify([*records[:6], *records[5:]])
    swapped = verify([*records[:5], records[6], records[5], *records[7:]])
    inserted = verify([*records[:5], link(records[4], 3, [entry(77)], START), *records[5:]])
    assert [b and b.position for b in (removed, repeated, swapped, inserted)] == [5, 6, 5, 6]


def test_a_resealed_record_breaks_the_next_link() -> None:
    records = chain(12)
    records[5] = link(records[4], 3, [entry(50)], START)
    broken = verify(records)
    assert broken is not None
    assert broken.position == 6
    assert "hash of the record before" in broken.reason


def test_a_chain_must_start_from_zeros() -> None:
    first = link(None, 0, [entry(0)], START)
    broken = verify([msgspec.structs.replace(first, previous="2" * 64)])
    assert broken is not None
    assert broken.position == 0
