"""Topics `commands` and `acknowledgements`: orders to devices, and what devices did with them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dosetwin.platform.contracts.event import DeviceEvent, Event, Instant, Name, Unit

CommandId = Annotated[str, msgspec.Meta(min_length=36, max_length=36, description="UUID")]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order: give `amount` in `unit`.

    `kind` "bolus": at once. "rate": run at `amount` (a rate unit) for `duration_s`, then fall back to
    the device's own programme. "infusion": give `amount` over `duration_s`.
    "regimen": give `amount` over `duration_s` every `interval_s`; it joins the running schedule, so the first
    dose is due one interval after the last one began, or at once where that has passed.
    """

    drug: Name
    route: Name
    kind: Literal["bolus", "rate", "infusion", "regimen"]
    amount: Annotated[float, msgspec.Meta(ge=0)]
    unit: Unit
    duration_s: float = 0.0
    interval_s: float = 0.0


class Precondition(msgspec.Struct, frozen=True, kw_only=True):
    """What must still hold at the device: the enrolment it knows, the last command it acknowledged."""

    enrolment_version: int
    last_acknowledged: CommandId | None = None


class Command(Event, frozen=True, kw_only=True, tag="command", tag_field="type"):
    """A signed, expiring order to a device. Several orders of one command are applied all or none.

    `id` = uuid5(patient, source partition:offset, index). `source` is the record that caused it, as
    "topic/partition:offset". `signature` is Ed25519 over the canonical JSON with an empty signature.
    """

    id: CommandId
    device: Name
    orders: Annotated[tuple[Order, ...], msgspec.Meta(min_length=1)]
    issued_at: Instant
    expires_at: Instant
    precondition: Precondition
    decision_id: CommandId
    source: str
    proposal_id: CommandId | None = None
    key_id: str = ""
    signature: str = ""


class Proposal(Event, frozen=True, kw_only=True, tag="proposal", tag_field="type"):
    """Advisory mode: an order that waits for a person's approval in `actions`. No device obeys it."""

    id: CommandId
    device: Name
    orders: Annotated[tuple[Order, ...], msgspec.Meta(min_length=1)]
    proposed_at: Instant
    expires_at: Instant
    enrolment_version: int
    decision_id: CommandId
    source: str
    candidate: str = ""
    reason: str = ""


class Acknowledgement(DeviceEvent, frozen=True, kw_only=True, tag="acknowledgement", tag_field="type"):
    """What became of a command: delivered, then exactly one of applied, refused, expired.

    `reason` names the failed check of a refusal: "signature", "expired", "repeated", "precondition",
    "hardware" or another. `application_id` is new for each time a device really acts, so that a
    doubled application would show. The watchdog reports `expired` with device "watchdog".
    """

    command_id: CommandId
    status: Literal["delivered", "applied", "refused", "expired"]
    at: Instant
    reason: str = ""
    detail: str = ""
    application_id: str = ""
