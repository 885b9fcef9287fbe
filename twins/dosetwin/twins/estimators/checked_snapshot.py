"""Decoding of a bank's snapshot, refused where it is another's: one check for every bank."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from dosetwin.platform.errors import SnapshotError


class Identified(Protocol):
    """What every snapshot says of the bank that wrote it."""

    @property
    def therapy(self) -> str:
        """Id of the therapy."""
        ...

    @property
    def model_version(self) -> str:
        """Of the twins."""
        ...

    @property
    def seed(self) -> int:
        """Of the bank's chance."""
        ...


S = TypeVar("S", bound=Identified)


def decoded(
    decoder: msgspec.msgpack.Decoder[S], payload: bytes, *, therapy: str, model_version: str, seed: int
) -> S:
    """The snapshot in `payload`.

    Raises SnapshotError where it is not one, or is of another therapy, model version or seed.
    """
    try:
        snapshot = decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise SnapshotError(
            f"not a snapshot of {therapy!r} twins: {error}", remedy="rebuild the twins from their history"
        ) from error
    found = (snapshot.therapy, snapshot.model_version, snapshot.seed)
    expected = (therapy, model_version, seed)
    if found != expected:
        raise SnapshotError(
            f"snapshot of (therapy, model version, seed) {found}; expected {expected}",
            remedy="rebuild the twins from their history, or run the version that wrote the snapshot",
        )
    return snapshot
