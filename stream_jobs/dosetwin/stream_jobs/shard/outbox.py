"""What a turn is going to write, collected until its one transaction."""

from __future__ import annotations

from datetime import datetime

from dosetwin.platform.audit_chain import link
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Alert,
    AlertCleared,
    AlertRaised,
    AuditEntry,
    AuditRecord,
    Command,
    DeadLetter,
    Forecast,
    Proposal,
    TwinSnapshot,
)
from dosetwin.platform.topics import (
    ALERTS,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    FORECASTS,
    TWIN_SNAPSHOTS,
)

ENTRIES_PER_LINK = 2000


class Outbox:
    """Encoded records by topic, in order. `audit_heads`: the newest link of each partition's chain."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, bytes, bytes]] = []
        self.audit_heads: dict[int, AuditRecord | None] = {}
        self._entries: dict[int, list[AuditEntry]] = {}

    def forecast(self, partition: int, forecast: Forecast) -> None:
        """Add a forecast."""
        self.records.append((FORECASTS.name, partition, forecast.patient.encode(), encode(forecast)))

    def order(self, partition: int, order: Command | Proposal) -> None:
        """Add a signed command or a proposal."""
        self.records.append((COMMANDS.name, partition, order.patient.encode(), encode(order)))

    def alert(self, partition: int, alert: Alert) -> None:
        """Add an event of an alert's life, keyed so that compaction keeps one of each kind."""
        kind = {AlertRaised: "raised", AlertCleared: "cleared"}[type(alert)]
        self.records.append((ALERTS.name, partition, f"{alert.alert}/{kind}".encode(), encode(alert)))

    def dead_letter(self, partition: int, letter: DeadLetter) -> None:
        """Add what was refused."""
        key = letter.patient.encode() or letter.key
        self.records.append((DEAD_LETTERS.name, partition, key, encode(letter)))

    def snapshot(self, snapshot: TwinSnapshot) -> int:
        """Add a chunk of twins; returns its size in bytes."""
        payload = encode(snapshot)
        key = f"{snapshot.partition}/{snapshot.chunk}".encode()
        self.records.append((TWIN_SNAPSHOTS.name, snapshot.partition, key, payload))
        return len(payload)

    def audit(self, partition: int, entry: AuditEntry) -> None:
        """Note a decision or a human act for the partition's chain."""
        self._entries.setdefault(partition, []).append(entry)

    def seal(self, at: datetime) -> None:
        """Turn the noted entries into links of the chains. Call once, right before the transaction."""
        for partition, entries in self._entries.items():
            for first in range(0, len(entries), ENTRIES_PER_LINK):
                part = tuple(entries[first : first + ENTRIES_PER_LINK])
                record = link(self.audit_heads.get(partition), partition, part, at)
                self.audit_heads[partition] = record
                self.records.append((AUDIT.name, partition, str(partition).encode(), encode(record)))
        self._entries = {}

    def clear(self) -> None:
        """Forget what was committed."""
        self.records = []
