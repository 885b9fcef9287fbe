"""Deterministic ids: the same cause gives the same id, so that a repeat is recognised."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:dosetwin")

PLATFORM = "p-" + "0" * 20
"""Stands where an event must name a patient and speaks of the platform itself (a shard behind, a ward)."""


def identifier(*cause: object) -> str:
    """uuid5 over the parts of the cause, joined by `|`."""
    return str(uuid.uuid5(_NAMESPACE, "|".join(str(part) for part in cause)))
