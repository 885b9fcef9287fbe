"""The durable memory of the devices behind a gateway: inbox, device state, outbox, in one SQLite file.

Write-ahead logging with synchronous=NORMAL: a committed transaction survives the end of the process (what
exactly-once effects need here); a power failure may cost the newest ones, never the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    partition INTEGER NOT NULL, offset INTEGER NOT NULL, command_id TEXT NOT NULL, patient TEXT NOT NULL,
    device TEXT NOT NULL, payload BLOB NOT NULL, received_s REAL NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', application_id TEXT NOT NULL DEFAULT '',
    decided_s REAL, PRIMARY KEY (partition, offset));
CREATE INDEX IF NOT EXISTS inbox_command ON inbox (command_id);
CREATE INDEX IF NOT EXISTS inbox_pending ON inbox (status) WHERE status = 'received';
CREATE TABLE IF NOT EXISTS device (
    patient TEXT NOT NULL, device TEXT NOT NULL, state BLOB NOT NULL, last_applied TEXT,
    PRIMARY KEY (patient, device));
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, patient TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS enrolment (patient TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """A command in the inbox: where it stood in `commands`, and its bytes. `status` received = undecided."""

    partition: int
    offset: int
    command_id: str
    patient: str
    device: str
    payload: bytes
    received_s: float
    status: str = "received"
    reason: str = ""


@dataclass(frozen=True)
class Letter:
    """A message that must reach Kafka; kept until it has."""

    id: int
    topic: str
    patient: str
    payload: bytes


class DeviceMemory:
    """The one file. Every change happens inside `transaction()`; one process at a time may hold it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside become durable together, or none of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def receive(self, entry: Entry) -> bool:
        """Put a command into the inbox; False when this very record is in it already."""
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO inbox (partition, offset, command_id, patient, device, payload,"
            " received_s, status) VALUES (?, ?, ?, ?, ?, ?, ?, 'received')",
            (
                entry.partition,
                entry.offset,
                entry.command_id,
                entry.patient,
                entry.device,
                entry.payload,
                entry.received_s,
            ),
        )
        return cursor.rowcount == 1

    def pending(self) -> list[Entry]:
        """The commands received and not decided, in the order of their arrival."""
        rows = self._connection.execute(
            "SELECT partition, offset, command_id, patient, device, payload, received_s FROM inbox"
            " WHERE status = 'received' ORDER BY received_s, partition, offset"
        )
        return [Entry(*row) for row in rows]

    def verdict(self, command_id: str) -> tuple[str, str] | None:
        """(status, reason) of a command id that was decided before; bad signatures do not count."""
        row = self._connection.execute(
            "SELECT status, reason FROM inbox WHERE command_id = ? AND status != 'received'"
            " AND reason NOT IN ('signature', 'repeated') LIMIT 1",
            (command_id,),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def decide(
        self, entry: Entry, status: str, decided_s: float, *, reason: str = "", application_id: str = ""
    ) -> None:
        """Say what became of a command."""
        self._connection.execute(
            "UPDATE inbox SET status = ?, reason = ?, application_id = ?, decided_s = ?"
            " WHERE partition = ? AND offset = ?",
            (status, reason, application_id, decided_s, entry.partition, entry.offset),
        )

    def inbox(self) -> list[tuple[str, str, str, str]]:
        """(command id, status, reason, application id) of every record, in order."""
        return self._connection.execute(
            "SELECT command_id, status, reason, application_id FROM inbox ORDER BY partition, offset"
        ).fetchall()

    def device_state(self, patient: str, device: str) -> tuple[bytes, str | None] | None:
        """(state, last applied command) of a device, None for one that never changed."""
        row = self._connection.execute(
            "SELECT state, last_applied FROM device WHERE patient = ? AND device = ?", (patient, device)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def store_device(self, patient: str, device: str, state: bytes, applied: str | None = None) -> None:
        """Keep a device's state; `applied` is the command that changed it, None for its own doing."""
        self._connection.execute(
            "INSERT INTO device VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state,"
            " last_applied = coalesce(excluded.last_applied, last_applied)",
            (patient, device, state, applied),
        )

    def post(self, topic: str, patient: str, payload: bytes) -> Letter:
        """Put a message into the outbox."""
        cursor = self._connection.execute(
            "INSERT INTO outbox (topic, patient, payload) VALUES (?, ?, ?)", (topic, patient, payload)
        )
        return Letter(int(cursor.lastrowid or 0), topic, patient, payload)

    def outbox(self) -> list[Letter]:
        """What Kafka has not confirmed, oldest first."""
        rows = self._connection.execute("SELECT id, topic, patient, payload FROM outbox ORDER BY id")
        return [Letter(*row) for row in rows]

    def confirm(self, ids: Iterable[int]) -> None:
        """Forget messages that Kafka has."""
        self._connection.executemany("DELETE FROM outbox WHERE id = ?", [(id_,) for id_ in ids])

    def position(self, topic: str, partition: int) -> int | None:
        """The next offset to read, None before the first."""
        row = self._connection.execute(
            "SELECT next_offset FROM position WHERE topic = ? AND partition = ?", (topic, partition)
        ).fetchone()
        return None if row is None else int(row[0])

    def advance(self, topic: str, partition: int, next_offset: int) -> None:
        """Set the next offset to read."""
        self._connection.execute(
            "INSERT INTO position VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " next_offset = excluded.next_offset",
            (topic, partition, next_offset),
        )

    def enrolment_versions(self) -> dict[str, int]:
        """The newest enrolment version known of each patient."""
        return dict(self._connection.execute("SELECT patient, version FROM enrolment"))

    def enrol(self, patient: str, version: int) -> None:
        """Learn of an enrolment; an older version changes nothing."""
        self._connection.execute(
            "INSERT INTO enrolment VALUES (?, ?) ON CONFLICT DO UPDATE SET"
            " version = max(version, excluded.version)",
            (patient, version),
        )

    def note(self, name: str) -> bytes | None:
        """A named value, None when there is none."""
        row = self._connection.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_note(self, name: str, value: bytes) -> None:
        """Keep a named value."""
        self._connection.execute(
            "INSERT INTO note VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
        )

    def forget_stream(self) -> None:
        """Forget everything that speaks of another cluster's records: positions, inbox, outbox, versions."""
        for table in ("position", "inbox", "outbox", "enrolment"):
            self._connection.execute(f"DELETE FROM {table}")
