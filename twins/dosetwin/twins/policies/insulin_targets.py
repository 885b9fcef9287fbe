"""The enrolment's targets that a decision on insulin needs, and what stands in for those it does not name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

RISK_BELOW_70, RISK_BELOW_54 = 0.15, 0.03
"""Chance constraints: how probable a candidate may make it to be ever below 70, 54 mg/dL within 5 h, where
30 min without insulin leave less. Our assumption."""
GOAL_MG_DL = 110.0
"""Glucose that corrections aim at (Loop and oref0 default to 100-115)."""
FLOOR_MG_DL = 60.0
"""Where the therapy's supervisor suspends (limit `suspend_predicted_below`)."""


Number = TypeVar("Number")


class InsulinTargets(NamedTuple, Generic[Number]):
    """Target range, goal and floor (mg/dL), risk that may be added, largest bolus (U), pump's increments.

    Of one patient, or of many with an array in every field.
    """

    low_mg_dL: Number
    high_mg_dL: Number
    risk_below_70: Number
    risk_below_54: Number
    maximum_bolus_U: Number
    goal_mg_dL: Number
    floor_mg_dL: Number
    bolus_increment_U: Number
    rate_increment_U_per_h: Number


STANDARD = InsulinTargets(
    70.0, 180.0, RISK_BELOW_70, RISK_BELOW_54, 10.0, GOAL_MG_DL, FLOOR_MG_DL, 0.05, 0.05
)
"""What holds where an enrolment names nothing."""


def insulin_targets(targets: Mapping[str, float]) -> InsulinTargets[float]:
    """Targets by the names that the therapy gives them."""
    return InsulinTargets(
        low_mg_dL=targets.get("low", STANDARD.low_mg_dL),
        high_mg_dL=targets.get("high", STANDARD.high_mg_dL),
        risk_below_70=targets.get("risk_below_70", STANDARD.risk_below_70),
        risk_below_54=targets.get("risk_below_54", STANDARD.risk_below_54),
        maximum_bolus_U=targets.get("maximum_bolus", STANDARD.maximum_bolus_U),
        goal_mg_dL=targets.get("goal", STANDARD.goal_mg_dL),
        floor_mg_dL=targets.get("floor", STANDARD.floor_mg_dL),
        bolus_increment_U=targets.get("bolus_increment", STANDARD.bolus_increment_U),
        rate_increment_U_per_h=targets.get("rate_increment", STANDARD.rate_increment_U_per_h),
    )
