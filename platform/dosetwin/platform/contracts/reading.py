"""Topic `readings`: raw device telemetry."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dosetwin.platform.contracts.event import DeviceEvent, Instant, Name, Unit


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured value. `at` is when it was true: for a laboratory level, when the blood was drawn.

    `censored` is "below" when the laboratory reports "< value" (below the limit of quantification),
    "above" when it reports "> value". `code` is the code received, for example "LOINC 20578-1".
    """

    quantity: Name
    value: float
    unit: Unit
    at: Instant
    censored: Literal["below", "above"] | None = None
    quality: Literal["good", "suspect"] = "good"
    code: str | None = None


class Reading(DeviceEvent, frozen=True, kw_only=True, tag="reading", tag_field="type"):
    """What a device measured; many samples of one patient may share a message."""

    samples: Annotated[tuple[Sample, ...], msgspec.Meta(min_length=1, max_length=1000)]
