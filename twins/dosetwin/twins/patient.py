"""A patient as a person enters one: covariates by name and unit, checked against what a therapy needs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dosetwin.platform.errors import TherapyError
from dosetwin.twins.therapy import CovariateNeed, Therapy

UNIT_SPELLINGS: Mapping[str, str] = {"a": "years", "1": "", "%": "pct", "Cel": "C", "m[Hg]": "mHg"}
"""Units whose spelling in a keyword is not their UCUM spelling with `/` as `_per_` or `_`."""
SEXES: Mapping[str, float] = {"male": 1.0, "m": 1.0, "female": 0.0, "f": 0.0}


class Patient:
    """Covariates of one patient, a keyword each, with the unit at its end.

        Patient(weight_kg=70, height_cm=175, age_years=54, sex="male", creatinine_mg_dL=1.1)

    Which ones a therapy needs, and their ranges, are checked when it is used; `keywords(therapy)` lists them.
    What a therapy does not know is an error and not ignored: a misspelt covariate would be a default.
    """

    __slots__ = ("given",)

    def __init__(self, **covariates: float | str | bool) -> None:
        self.given = dict(covariates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patient) and self.given == other.given

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.given.items())))

    def __repr__(self) -> str:
        return f"Patient({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"

    def covariates(self, therapy: Therapy) -> dict[str, float]:
        """The covariates in the therapy's units, defaults filled in.

        Raises TherapyError, naming what is missing, unknown or out of range and what is expected.
        """
        needs = {keyword(need): need for need in therapy.covariates}
        unknown = [name for name in self.given if name not in needs]
        if unknown:
            raise TherapyError(
                f"{therapy.id} knows no covariate {', '.join(unknown)}; it takes {describe(therapy)}",
                remedy="correct the name (the unit is its last part) or leave it out",
            )
        values: dict[str, float] = {}
        for name, need in needs.items():
            if name not in self.given:
                if need.default is None:
                    raise TherapyError(
                        f"{therapy.id} needs {name}; given are {', '.join(self.given) or 'no covariates'}",
                        remedy=f"give Patient({name}=...): it takes {describe(therapy)}",
                    )
                values[need.name] = need.default
                continue
            value = _number(name, self.given[name])
            if not need.low <= value <= need.high:
                raise TherapyError(
                    f"{name} is {self.given[name]!r}; expected {need.low:g} to {need.high:g} {need.unit}",
                    remedy="check the value and its unit",
                )
            values[need.name] = value
        return values


def keyword(need: CovariateNeed) -> str:
    """The keyword of a covariate: `weight_kg`, `age_years`, `correction_factor_mg_dL_per_U`."""
    spelling = UNIT_SPELLINGS.get(need.unit)
    if spelling is None:
        head, slash, last = need.unit.rpartition("/")
        separator = "_per_" if last in ("h", "min", "U") else "_"
        spelling = head.replace("/", "_") + separator + last if slash else need.unit
    return f"{need.name}_{spelling}" if spelling else need.name


def describe(therapy: Therapy) -> str:
    """The covariates a therapy takes, with ranges; those in brackets have a default."""
    words = []
    for need in therapy.covariates:
        text = f"{keyword(need)} ({need.low:g}-{need.high:g})"
        words.append(text if need.default is None else f"[{text}]")
    return ", ".join(words)


def _number(name: str, value: float | str | bool) -> float:
    if isinstance(value, str):
        found = SEXES.get(value.lower()) if name == "sex" else None
        if found is None:
            raise TherapyError(
                f"{name} is {value!r}; expected a number" + (" or male, female" if name == "sex" else ""),
                remedy="give a number in the unit that the name ends with",
            )
        return found
    number = float(value)
    if not math.isfinite(number):
        raise TherapyError(
            f"{name} is {value}; expected a finite number", remedy="leave out what is not known"
        )
    return number
