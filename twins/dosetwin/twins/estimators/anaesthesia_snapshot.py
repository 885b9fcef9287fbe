"""Snapshots of anaesthesia twins: msgpack of the book-keeping, ensembles as raw little-endian float32."""

from __future__ import annotations

import msgspec

from dosetwin.twins.estimators.checked_snapshot import decoded
from dosetwin.twins.events import TwinEvent


class StoredTwin(msgspec.Struct, frozen=True, array_like=True):
    """One twin; `ensembles` are those of `anaesthesia_twin`, one after the other."""

    patient: str
    person: tuple[float, float, float, float]
    targets: dict[str, float]
    facts: list[TwinEvent]
    rates: list[list[tuple[float, int, float]]]
    boluses: list[list[tuple[float, int, float]]]
    infusions: list[list[tuple[float, int, float, float]]]
    stimuli: list[tuple[float, int, float, float]]
    lines: list[int | None]
    marks: list[tuple[float, float, tuple[float, float, float, float]]]
    ended_s: float
    ensembles: bytes


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Twins of one bank."""

    therapy: str
    model_version: str
    seed: int
    twins: list[StoredTwin]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """A snapshot as bytes."""
    return _encoder.encode(snapshot)


def decode(payload: bytes, *, therapy: str, model_version: str, seed: int) -> Snapshot:
    """The snapshot in `payload`.

    Raises SnapshotError where it is not one, or is of another therapy, model version or seed.
    """
    return decoded(_decoder, payload, therapy=therapy, model_version=model_version, seed=seed)
