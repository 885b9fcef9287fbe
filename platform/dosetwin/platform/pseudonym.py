"""Pseudonyms: the keyed HMAC that stands for a patient on every topic."""

from __future__ import annotations

import hashlib
import hmac


def pseudonym(local_identifier: str, key: bytes) -> str:
    """`p-` + the first 20 hex digits (80 bits) of HMAC-SHA256(key, local identifier).

    The key stays in the settings of the enrolment service; without it a pseudonym cannot be traced back
    by trying identifiers.
    """
    return "p-" + hmac.new(key, local_identifier.encode(), hashlib.sha256).hexdigest()[:20]
