"""What an enrolment comes to: its therapy, covariates, targets and limits in the therapy's own units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dosetwin.platform.contracts import Enrolment, Measure
from dosetwin.platform.errors import TherapyError, UnitError
from dosetwin.platform.units import to_canonical
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Bound, Therapy


@dataclass(frozen=True)
class Resolved:
    """An enrolment that can be kept. `device` obeys commands; None when no enrolled device does."""

    therapy: Therapy
    covariates: dict[str, float]
    targets: dict[str, Bound]
    limits: dict[str, Bound]
    device: str | None


def resolve(enrolment: Enrolment) -> Resolved:
    """Check an enrolment and convert what it gives.

    Raises TherapyError or UnitError that says what was found and what was expected: an unknown therapy, a
    covariate missing or out of range, an override of no target or limit, devices that cannot serve the mode.
    """
    therapy = load_therapy(enrolment.therapy)
    _check_devices(enrolment, therapy)
    return Resolved(
        therapy,
        _covariates(enrolment, therapy),
        _overridden("target", enrolment, enrolment.targets, therapy.targets),
        _overridden("limit", enrolment, enrolment.limits, therapy.limits),
        next((device.device for device in enrolment.devices if device.commands), None),
    )


def fault_of(enrolment: Enrolment) -> str:
    """What is wrong with an enrolment, in words with found and expected; empty when it can be kept."""
    try:
        resolve(enrolment)
    except (TherapyError, UnitError) as error:
        return str(error)
    return ""


def _covariates(enrolment: Enrolment, therapy: Therapy) -> dict[str, float]:
    values: dict[str, float] = {}
    for need in therapy.covariates:
        measure = enrolment.covariates.get(need.name)
        if measure is None:
            if need.default is None:
                given = ", ".join(sorted(enrolment.covariates)) or "none"
                raise TherapyError(
                    f"{therapy.id} needs covariate {need.name} in {need.unit}; given are {given}"
                )
            values[need.name] = need.default
            continue
        value = to_canonical(need.name, measure.value, measure.unit, need.unit)
        if not need.low <= value <= need.high:
            raise TherapyError(
                f"covariate {need.name} is {measure.value:g} {measure.unit}; "
                f"expected {need.low:g} to {need.high:g} {need.unit}"
            )
        values[need.name] = value
    return values


def _overridden(
    what: str, enrolment: Enrolment, given: Mapping[str, Measure], known: Mapping[str, Bound]
) -> dict[str, Bound]:
    bounds = dict(known)
    for name, measure in given.items():
        bound = known.get(name)
        if bound is None:
            raise TherapyError(
                f"{what} {name} is none of the therapy's, which has {', '.join(known) or 'none'}"
            )
        if not (math.isfinite(measure.value) and measure.value >= 0):
            raise TherapyError(f"{what} {name} is {measure.value}; expected a number of at least 0")
        value = to_canonical(name, measure.value, measure.unit, bound.unit)
        bounds[name] = Bound(value, bound.unit, f"enrolment version {enrolment.version}")
    return bounds


def _check_devices(enrolment: Enrolment, therapy: Therapy) -> None:
    names = [device.device for device in enrolment.devices]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise TherapyError(
            f"device {', '.join(sorted(repeated))} is named more than once; expected each device once"
        )
    if not enrolment.active:
        return
    if not names:
        raise TherapyError("no device is named; expected at least the one that sends the readings")
    if therapy.monitoring or enrolment.mode != "autonomous":
        return
    if not any(device.commands for device in enrolment.devices):
        raise TherapyError(
            "mode autonomous and no device that obeys commands; expected one with commands true"
        )
