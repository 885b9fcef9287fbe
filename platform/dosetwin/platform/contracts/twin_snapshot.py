"""Topic `twin-snapshots`: posterior blocks with the source offsets they contain."""

from __future__ import annotations

import msgspec

from dosetwin.platform.contracts.event import CONTRACT_VERSION, Instant, Name


class TwinSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", tag_field="type"):
    """A chunk of one partition's twins.

    `offsets` maps each topic to the next offset not yet contained: sources (`readings`, `doses`,
    `enrolments`, `actions`, `acknowledgements`) and own outputs (`commands`, `alerts`).
    `models` maps each therapy in it to its model version. `payload` is compressed msgpack.
    """

    partition: int
    chunk: int
    at: Instant
    offsets: dict[str, int]
    models: dict[str, str]
    patients: int
    payload: bytes
    format: Name = "zlib+msgpack"
    contract: int = CONTRACT_VERSION
