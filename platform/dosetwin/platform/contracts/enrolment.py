"""Topic `enrolments`: the desired state of each patient's therapy."""

from __future__ import annotations

from typing import Literal

import msgspec

from dosetwin.platform.contracts.event import Event, Instant, Name, Positive, Unit

Mode = Literal["shadow", "advisory", "autonomous"]


class Measure(msgspec.Struct, frozen=True):
    """A number and its UCUM unit: a covariate, a target's edge or a limit."""

    value: float
    unit: Unit


class EnrolledDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device of a patient; `commands` says whether it obeys commands."""

    device: Name
    kind: Name
    commands: bool = False


class Enrolment(Event, frozen=True, kw_only=True, tag="enrolment", tag_field="type"):
    """A patient's therapy: covariates, targets, limits, mode and devices.

    `version` counts up with every change and is the precondition that a command carries. `at` is the
    time from which the therapy is to be watched. `covariates` may be given again with a later `at`
    (a new weight, a new creatinine): they hold from then on. `targets` and `limits` override the
    therapy's own, by name. `mode`: shadow (nothing leaves), advisory (a person approves), autonomous.
    """

    version: Positive
    therapy: Name
    mode: Mode
    at: Instant
    active: bool = True
    ward: str = ""
    covariates: dict[str, Measure] = {}
    targets: dict[str, Measure] = {}
    limits: dict[str, Measure] = {}
    devices: tuple[EnrolledDevice, ...] = ()
