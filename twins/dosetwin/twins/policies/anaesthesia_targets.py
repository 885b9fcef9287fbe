"""What an anaesthesia policy aims at and weighs: targets by name, and what the pumps of this loop may do.

The targets are a therapy's (`therapies.propofol`), overridden by an enrolment. The ceilings on rates per kg
are the policy's own; the supervisor holds absolute bounds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

PROPOFOL_INCREMENT_MG_H: Final = 1.0
"""0.1 mL/h of 10 mg/mL, the increment of common syringe pumps."""
REMIFENTANIL_INCREMENT_UG_H: Final = 5.0
"""0.1 mL/h of 50 ug/mL."""
BURST_S: Final = 60.0
HOLD_S: Final = 600.0
"""How long a rate is ordered for, which is what holds when the platform falls silent (docs/safety.md): a
minute where it is meant as a burst, ten where it is about what keeps the target. An infusion that stops at
once would wake the patient; a burst that goes on would be an overdose."""
BURST: Final = 1.25
"""A rate this much above the one that follows it is a burst."""
RENEW_AFTER_S: Final = 20.0
"""A rate that is right is ordered again when it was told this long ago."""
PROPOFOL_MG_KG_MIN: Final = (0.75, 0.4)
"""Highest rate of the policy at 55 years and younger, and at 80 and older; between them on a line. Label of
propofol (Diprivan, section 2.2): induction with 20-40 mg every 10 s in healthy adults under 55, half of that
and slower in the elderly; both are faster than this."""
REMIFENTANIL_UG_KG_MIN: Final = (1.0, 0.5)
"""The same for remifentanil. Label (Ultiva, section 2.2): 0.5-1 ug/kg/min at induction, maintenance 0.05-2
ug/kg/min; half of the starting dose in people over 65."""
AHEAD_S: Final = 180.0
"""A stimulus that was announced for this far ahead is prepared for."""
BLIND_AFTER_S: Final = 60.0
"""With no index for this long, propofol is held on the model: not above what the twin says is there or
needed, and not faster than `BLIND_MG_KG_H`. Our assumption."""
BLIND_MG_KG_H: Final = 12.0
"""Label of propofol (Diprivan, section 2.2): maintenance at 6-12 mg/kg/h."""


class AnaesthesiaTargets(NamedTuple):
    """Aims of n patients, [n] each: index goal and range, lowest pressure and heart rate, accepted risks."""

    goal: FloatArray
    low: FloatArray
    high: FloatArray
    pressure_low: FloatArray
    heart_rate_low: FloatArray
    risk_below_30: FloatArray


DEFAULTS: Final[Mapping[str, float]] = {
    "bis_goal": 50.0,
    "bis_low": 40.0,
    "bis_high": 60.0,
    "mean_arterial_pressure_low": 65.0,
    "heart_rate_low": 45.0,
    "risk_bis_below_30": 0.05,
}


def anaesthesia_targets(targets: list[dict[str, float]]) -> AnaesthesiaTargets:
    """The aims of n patients; what a mapping does not give is the therapy's default."""
    columns = ([held.get(name, default) for held in targets] for name, default in DEFAULTS.items())
    return AnaesthesiaTargets(*(np.array(column, float) for column in columns))


def highest_rates_per_h(age_a: FloatArray, weight_kg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The policy's ceilings, mg/h of propofol and ug/h of remifentanil."""
    old = np.clip((age_a - 55.0) / 25.0, 0.0, 1.0)
    hypnotic, opioid = (
        young + (aged - young) * old for young, aged in (PROPOFOL_MG_KG_MIN, REMIFENTANIL_UG_KG_MIN)
    )
    return hypnotic * weight_kg * 60.0, opioid * weight_kg * 60.0
