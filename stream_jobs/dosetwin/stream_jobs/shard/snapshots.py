"""Twin snapshots: chunks of patients, with the source offsets they contain, small and staggered."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import msgspec

from dosetwin.platform.errors import SnapshotError
from dosetwin.stream_jobs.shard.patient import PatientState
from dosetwin.twins.bank import Bank

FORMAT = "zlib+msgpack, watch"
"""Changes whenever `PatientState` does: a snapshot of another format is rebuilt from history."""


class PatientEntry(msgspec.Struct):
    """A patient in a chunk: its state and its packed sequence windows."""

    state: PatientState
    windows: dict[str, tuple[int, bytes]]


class ChunkContent(msgspec.Struct):
    """What a chunk's payload holds: patients by pseudonym, twins by therapy as their bank packs them."""

    patients: dict[str, PatientEntry]
    twins: dict[str, bytes]


class Chunk:
    """A fixed set of patients of one partition that are written together."""

    __slots__ = ("dirty", "number", "partition", "patients", "written_s")

    def __init__(self, partition: int, number: int) -> None:
        self.partition = partition
        self.number = number
        self.patients: list[str] = []
        self.written_s = 0.0
        """Wall time of the last snapshot; 0 when there is none, which makes it due at once."""
        self.dirty = False


def pack(entries: Mapping[str, PatientEntry], banks: Mapping[str, Bank]) -> bytes:
    """A chunk's payload."""
    by_therapy: dict[str, list[str]] = {}
    for patient, entry in entries.items():
        by_therapy.setdefault(entry.state.enrolment.therapy, []).append(patient)
    twins = {
        therapy: banks[therapy].snapshot([patient for patient in patients if patient in banks[therapy]])
        for therapy, patients in by_therapy.items()
        if therapy in banks
    }
    return zlib.compress(msgspec.msgpack.encode(ChunkContent(dict(entries), twins)), level=1)


def unpack(payload: bytes, format_name: str) -> ChunkContent:
    """What `pack` packed.

    Raises SnapshotError for another format or damaged bytes.
    """
    if format_name != FORMAT:
        raise SnapshotError(f"snapshot format is {format_name}; this shard reads {FORMAT}")
    try:
        return msgspec.msgpack.decode(zlib.decompress(payload), type=ChunkContent)
    except (zlib.error, msgspec.DecodeError) as error:
        raise SnapshotError(
            f"a snapshot cannot be read ({error})",
            remedy="delete the topic twin-snapshots to have the twins rebuilt from their history",
        ) from error


def due(chunks: Iterable[Chunk], now_wall_s: float, interval_s: float) -> list[Chunk]:
    """The chunks to write in this turn: every one never written, and the one most overdue.

    One overdue chunk a turn spreads the work. New chunks go at once: recovery replays from the oldest
    offset that the partition's snapshots contain, so every patient must be in a snapshot, or have been
    enrolled after the snapshot of its chunk.
    """
    dirty = [chunk for chunk in chunks if chunk.dirty]
    new = [chunk for chunk in dirty if chunk.written_s == 0.0]
    overdue = [chunk for chunk in dirty if 0.0 < chunk.written_s <= now_wall_s - interval_s]
    return new + sorted(overdue, key=lambda chunk: chunk.written_s)[:1]
