"""Bytes to structs and back: JSON by msgspec, one cached decoder a contract."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")


def encode(message: msgspec.Struct) -> bytes:
    """The message as canonical JSON: fields and keys in a fixed order, so equal messages are equal bytes."""
    return _encoder.encode(message)


@cache
def decoder(contract: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a contract (a struct or a union of tagged structs)."""
    return msgspec.json.Decoder(contract)


def decode(payload: bytes, contract: type[T]) -> T:
    """The message in `payload`.

    Raises msgspec.DecodeError where it is no JSON, msgspec.ValidationError where it breaks the contract.
    """
    message: T = decoder(cast("Hashable", contract)).decode(payload)
    return message
