"""Snapshots of twins: msgpack of the book-keeping, with the ensembles as raw little-endian float32."""

from __future__ import annotations

import msgspec
import numpy as np

from dosetwin.twins.estimators.checked_snapshot import decoded
from dosetwin.twins.events import TwinEvent


class StoredTwin(msgspec.Struct, frozen=True, array_like=True):
    """One twin; `ensembles` are head, newer and older, 3 x SIZE float32."""

    patient: str
    history: list[tuple[float, float, float, float, float, float]]
    changes: list[tuple[float, int, str, float]]
    targets: dict[str, float]
    sensitivity_centre: float
    facts: list[TwinEvent]
    line: int | None
    deliveries: list[
        tuple[
            float,
            float,
            float,
            tuple[tuple[float, float], ...],
            tuple[tuple[float, float, float], ...],
        ]
    ]
    ensembles: bytes


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Twins of one bank."""

    therapy: str
    model_version: str
    seed: int
    twins: list[StoredTwin]


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"cannot store {type(value).__name__} in a snapshot")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """A snapshot as bytes."""
    return _encoder.encode(snapshot)


def decode(payload: bytes, *, therapy: str, model_version: str, seed: int) -> Snapshot:
    """The snapshot in `payload`.

    Raises SnapshotError where it is not one, or is of another therapy, model version or seed.
    """
    return decoded(_decoder, payload, therapy=therapy, model_version=model_version, seed=seed)


def to_bytes(*ensembles: np.ndarray) -> bytes:
    """The ensembles one after another, little-endian float32."""
    return b"".join(np.ascontiguousarray(ensemble, "<f4").tobytes() for ensemble in ensembles)
