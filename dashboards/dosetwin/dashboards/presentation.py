"""How a therapy and a quantity are drawn: main quantity, unit, scale, target strip, when a value is stale.

Targets, limits and intervals come from the therapy's own file; only what a screen needs besides (the span of
an axis, a title in a person's words, decimals) lives here, with a plain fallback for a therapy added later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from dosetwin.platform.contracts import Enrolment
from dosetwin.platform.errors import DoseTwinError


@dataclass(frozen=True)
class Scale:
    """A quantity's title, canonical unit, the span its axis shows at least, and its decimals."""

    title: str
    unit: str
    low: float
    high: float
    decimals: int = 0


SCALES: dict[str, Scale] = {
    "glucose": Scale("Glucose", "mg/dL", 40, 300),
    "plasma_insulin": Scale("Plasma insulin", "mU/L", 0, 40, 1),
    "insulin": Scale("Plasma insulin", "mU/L", 0, 40, 1),
    "vancomycin": Scale("Vancomycin", "mg/L", 0, 50, 1),
    "remifentanil": Scale("Remifentanil", "ng/mL", 0, 50, 1),
    "quinidine": Scale("Quinidine", "mg/L", 0, 8, 1),
    "phenobarbital": Scale("Phenobarbital", "mg/L", 0, 60, 1),
    "heart_rate": Scale("Heart rate", "/min", 40, 140),
    "systolic_pressure": Scale("Systolic pressure", "mm[Hg]", 60, 180),
    "diastolic_pressure": Scale("Diastolic pressure", "mm[Hg]", 40, 110),
    "spo2": Scale("Oxygen saturation", "%", 80, 100),
    "reservoir": Scale("Reservoir", "U", 0, 300),
    "battery": Scale("Battery", "%", 0, 100),
    "creatinine": Scale("Creatinine", "mg/dL", 0, 4, 2),
    "carbohydrate": Scale("Carbohydrate", "g", 0, 120),
}
MAIN_QUANTITY = {"t1d-insulin": "glucose"}
STRIPS = {"t1d-insulin": (70.0, 180.0)}
"""Target strips of the measured value, where the therapy's targets do not name its edges. A therapy whose
target is no value (an AUC) has none: there the chance of attaining it is what is shown."""
DISPLAY_UNITS = {"mm[Hg]": "mmHg", "ug": "µg", "ug/mL": "µg/mL", "ug/h": "µg/h", "[iU]": "U", "[iU]/h": "U/h"}
UNKNOWN = Scale("", "", 0, 1, 1)


@dataclass(frozen=True)
class TherapyView:
    """What the screens need to know of a therapy."""

    id: str
    title: str
    quantity: str
    drug: str
    drug_unit: str
    stale_after_s: float
    sparse: bool
    monitoring: bool
    targets: dict[str, tuple[float, str]]


@cache
def therapy_view(therapy_id: str) -> TherapyView:
    """The therapy as the screens see it; a therapy that cannot be loaded here keeps its id as title."""
    from dosetwin.twins.therapies import load_therapy

    try:
        therapy = load_therapy(therapy_id)
    except (DoseTwinError, ImportError):
        quantity = MAIN_QUANTITY.get(therapy_id, therapy_id)
        return TherapyView(
            id=therapy_id,
            title=therapy_id,
            quantity=quantity,
            drug="insulin" if therapy_id == "t1d-insulin" else therapy_id,
            drug_unit="U" if therapy_id == "t1d-insulin" else "mg",
            stale_after_s=1200.0 if therapy_id == "t1d-insulin" else 172_800.0,
            sparse=therapy_id != "t1d-insulin",
            monitoring=False,
            targets={},
        )
    return TherapyView(
        id=therapy.id,
        title=therapy.title,
        quantity=therapy.observed[0].name,
        drug=therapy.drugs[0].name,
        drug_unit=therapy.drugs[0].unit,
        stale_after_s=therapy.stale_after_s,
        sparse=therapy.sensor == "sparse",
        monitoring=therapy.monitoring,
        targets={name: (bound.value, bound.unit) for name, bound in therapy.targets.items()},
    )


def target_strip(view: TherapyView, enrolment: Enrolment | None) -> tuple[float, float] | None:
    """The edges of the main quantity's target, in its canonical unit: enrolment over therapy over default.

    Only targets in the main quantity's unit are edges of its strip; an AUC target is not.
    """
    unit = scale_of(view.quantity).unit
    named = {name: value for name, (value, its_unit) in view.targets.items() if its_unit == unit}
    if enrolment is not None:
        named |= {name: m.value for name, m in enrolment.targets.items() if m.unit == unit}
    low = [value for name, value in named.items() if re.search(r"low|min", name)]
    high = [value for name, value in named.items() if re.search(r"high|max|upper", name)]
    if low and high and max(low) < min(high):
        return max(low), min(high)
    return STRIPS.get(view.id)


def scale_of(quantity: str, unit: str = "") -> Scale:
    """The scale of a quantity; an unknown one gets its own name as title and the unit it came in."""
    known = SCALES.get(quantity)
    return known if known is not None else Scale(words(quantity), unit, 0.0, 1.0, 1)


def words(name: str) -> str:
    """A name of the contracts as words: `predicted_low` -> `Predicted low`."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def shown_unit(unit: str) -> str:
    """A UCUM unit as people write it."""
    return DISPLAY_UNITS.get(unit, unit)
