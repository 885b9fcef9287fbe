"""Desired state: is an enrolment one that can be kept, and what a change of mode makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from dosetwin.platform.contracts import ChangeMode, Enrolment, Measure
from dosetwin.platform.errors import TherapyError, UnitError
from dosetwin.platform.units import conversion
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Bound, Therapy


def fault_of(enrolment: Enrolment) -> str:
    """What is wrong with an enrolment, in words with found and expected; empty when it can be kept."""
    try:
        therapy = load_therapy(enrolment.therapy)
        return (
            _covariate_fault(enrolment, therapy)
            or _override_fault("target", enrolment.targets, therapy.targets)
            or _override_fault("limit", enrolment.limits, therapy.limits)
            or _device_fault(enrolment, therapy)
        )
    except (TherapyError, UnitError) as error:
        return str(error)


def with_mode(enrolment: Enrolment, change: ChangeMode) -> Enrolment:
    """The next version of an enrolment, in the mode that was asked for and otherwise the same."""
    return msgspec.structs.replace(enrolment, version=enrolment.version + 1, mode=change.mode)


def _covariate_fault(enrolment: Enrolment, therapy: Therapy) -> str:
    for need in therapy.covariates:
        measure = enrolment.covariates.get(need.name)
        if measure is None:
            if need.default is None:
                given = ", ".join(sorted(enrolment.covariates)) or "none"
                return f"{therapy.id} needs covariate {need.name} in {need.unit}; given are {given}"
            continue
        factor, offset = conversion(need.name, measure.unit, need.unit)
        value = measure.value * factor + offset
        if not need.low <= value <= need.high:
            return (
                f"covariate {need.name} is {measure.value:g} {measure.unit}; "
                f"expected {need.low:g} to {need.high:g} {need.unit}"
            )
    return ""


def _override_fault(what: str, given: Mapping[str, Measure], known: Mapping[str, Bound]) -> str:
    for name, measure in given.items():
        bound = known.get(name)
        if bound is None:
            return f"{what} {name} is none of the therapy's, which has {', '.join(known) or 'none'}"
        if not (math.isfinite(measure.value) and measure.value >= 0):
            return f"{what} {name} is {measure.value}; expected a number of at least 0"
        conversion(name, measure.unit, bound.unit)
    return ""


def _device_fault(enrolment: Enrolment, therapy: Therapy) -> str:
    names = [device.device for device in enrolment.devices]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        return f"device {', '.join(sorted(repeated))} is named more than once; expected each device once"
    if not enrolment.active:
        return ""
    if not names:
        return "no device is named; expected at least the one that sends the readings"
    if therapy.monitoring or enrolment.mode != "autonomous":
        return ""
    if not any(device.commands for device in enrolment.devices):
        return "mode autonomous and no device that obeys commands; expected one with commands true"
    return ""
