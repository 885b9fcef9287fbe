"""The enrolment's targets that a decision on insulin needs, and what stands in for those it does not name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from dosetwin.twins.policies.insulin_scores import RISK_BELOW_54, RISK_BELOW_70

GOAL_MG_DL = 110.0
"""Glucose the bolus calculator aims at (Loop and oref0 default to 100-115)."""


Number = TypeVar("Number")


class InsulinTargets(NamedTuple, Generic[Number]):
    """Target range (mg/dL), risk a candidate may add, and the largest bolus a candidate asks for (U).

    Of one patient, or of many with an array in every field.
    """

    low_mg_dL: Number
    high_mg_dL: Number
    risk_below_70: Number
    risk_below_54: Number
    maximum_bolus_U: Number


STANDARD = InsulinTargets(70.0, 180.0, RISK_BELOW_70, RISK_BELOW_54, 10.0)
"""What holds where an enrolment names nothing."""


def insulin_targets(targets: Mapping[str, float]) -> InsulinTargets[float]:
    """Targets by the names that the therapy gives them."""
    return InsulinTargets(
        low_mg_dL=targets.get("low", STANDARD.low_mg_dL),
        high_mg_dL=targets.get("high", STANDARD.high_mg_dL),
        risk_below_70=targets.get("risk_below_70", STANDARD.risk_below_70),
        risk_below_54=targets.get("risk_below_54", STANDARD.risk_below_54),
        maximum_bolus_U=targets.get("maximum_bolus", STANDARD.maximum_bolus_U),
    )
