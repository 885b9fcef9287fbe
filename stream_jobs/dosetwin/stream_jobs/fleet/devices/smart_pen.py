"""A smart pen: boluses in half units, reported when the pen next meets its phone; missed ones too."""

from __future__ import annotations

import math

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Bolus, MissedDose

INCREMENT_U = 0.5
REPORT_DELAY_MEAN_S = 300.0
REPORT_DELAY_MAX_S = 1800.0


def round_to_pen(amount_U: float) -> float:
    """Down to half a unit."""
    return math.floor(amount_U / INCREMENT_U) * INCREMENT_U


def injected(amount_U: float, at_s: float) -> Bolus:
    """The report of an injection."""
    return Bolus(drug="insulin", route="subcutaneous", amount=amount_U, unit="U", at=instant(at_s))


def missed(amount_U: float, at_s: float) -> MissedDose:
    """The report of a meal bolus that did not come."""
    return MissedDose(
        drug="insulin",
        route="subcutaneous",
        amount=amount_U,
        unit="U",
        at=instant(at_s),
        reason="no bolus within half an hour of an announced meal",
    )
