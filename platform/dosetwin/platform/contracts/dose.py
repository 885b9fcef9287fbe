"""Topic `doses`: administrations that happened, or that should have and did not."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dosetwin.platform.contracts.event import DeviceEvent, Instant, Name, Unit

Amount = Annotated[float, msgspec.Meta(ge=0)]


class Bolus(msgspec.Struct, frozen=True, kw_only=True, tag="bolus", tag_field="kind"):
    """`amount` given at once at `at`."""

    drug: Name
    route: Name
    amount: Amount
    unit: Unit
    at: Instant
    command_id: str | None = None


class Infusion(msgspec.Struct, frozen=True, kw_only=True, tag="infusion", tag_field="kind"):
    """`amount` given at a constant rate over `duration_s` seconds from `at`."""

    drug: Name
    route: Name
    amount: Amount
    unit: Unit
    at: Instant
    duration_s: Annotated[float, msgspec.Meta(gt=0)]
    command_id: str | None = None


class RateChange(msgspec.Struct, frozen=True, kw_only=True, tag="rate", tag_field="kind"):
    """From `at` on the pump delivers `rate` (for example U/h), until its next rate change."""

    drug: Name
    route: Name
    rate: Amount
    unit: Unit
    at: Instant
    command_id: str | None = None


class MissedDose(msgspec.Struct, frozen=True, kw_only=True, tag="missed", tag_field="kind"):
    """A planned dose that was not taken."""

    drug: Name
    route: Name
    amount: Amount
    unit: Unit
    at: Instant
    reason: str = ""


Administration = Bolus | Infusion | RateChange | MissedDose


class Dose(DeviceEvent, frozen=True, kw_only=True, tag="dose", tag_field="type"):
    """What a pump, dispenser, inhaler or person reports to have given."""

    administrations: Annotated[tuple[Administration, ...], msgspec.Meta(min_length=1, max_length=1000)]
