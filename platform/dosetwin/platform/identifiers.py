"""Deterministic ids: the same cause gives the same id, so that a repeat is recognised."""

from __future__ import annotations

import hashlib
import uuid

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:dosetwin")
_NAMESPACE_BYTES = _NAMESPACE.bytes

PLATFORM = "p-" + "0" * 20
"""Stands where an event must name a patient and speaks of the platform itself (a shard behind, a ward)."""


def identifier(*cause: object) -> str:
    """uuid5 over the parts of the cause, joined by `|`.

    Written out, because `uuid.UUID` takes three times as long and a shard needs two ids an update.
    """
    name = "|".join([str(part) for part in cause]).encode()
    digits = hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
