"""Units: UCUM spellings to pint, and the factor between two units of one quantity or drug.

Conversion happens once, at the boundary; inside, every value is in the canonical unit. What is unknown or
of another dimension raises: nothing is guessed. International units are a dimension of their own, because
their mass differs from drug to drug; mass and amount of substance meet only where a molar mass is recorded.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from dosetwin.platform.errors import UnknownUnitError, WrongDimensionError

CANONICAL_UNITS: MappingProxyType[str, str] = MappingProxyType(
    {
        # quantities
        "glucose": "mg/dL",
        "carbohydrate": "g",
        "creatinine": "mg/dL",
        "heart_rate": "/min",
        "systolic_pressure": "mm[Hg]",
        "diastolic_pressure": "mm[Hg]",
        "mean_arterial_pressure": "mm[Hg]",
        "bis": "1",
        "spo2": "%",
        "battery": "%",
        "temperature": "Cel",
        # drugs (levels of the same name are concentrations: CONCENTRATION_UNITS)
        "insulin": "U",
        "vancomycin": "mg",
        "remifentanil": "ug",
        "propofol": "mg",
        "quinidine": "mg",
        "phenobarbital": "mg",
        # covariates
        "age": "a",
        "weight": "kg",
        "height": "cm",
        "sex": "1",
        "haemodialysis": "1",
        "total_daily_dose": "U",
        "lean_body_mass": "kg",
        "apgar": "1",
    }
)
"""The unit that a quantity, an amount of a drug or a covariate is kept in; rates of drugs are per hour."""

CONCENTRATION_UNITS: MappingProxyType[str, str] = MappingProxyType(
    {"vancomycin": "mg/L", "remifentanil": "ng/mL", "quinidine": "mg/L", "phenobarbital": "mg/L"}
)
"""The unit that the measured level of a drug is kept in."""

MOLAR_MASS_G_PER_MOL: MappingProxyType[str, float] = MappingProxyType(
    {
        # from the formula with the IUPAC 2021 abridged standard atomic weights (a test computes them again)
        "glucose": 180.156,  # C6 H12 O6
        "creatinine": 113.12,  # C4 H7 N3 O
        "vancomycin": 1449.27,  # C66 H75 Cl2 N9 O24
        "remifentanil": 376.45,  # C20 H28 N2 O5
        "quinidine": 324.42,  # C20 H24 N2 O2
        "phenobarbital": 232.24,  # C12 H12 N2 O3
    }
)

_ATOMS: MappingProxyType[str, str] = MappingProxyType(
    {
        "g": "gram",
        "mol": "mole",
        "L": "liter",
        "l": "liter",
        "m": "meter",
        "s": "second",
        "U": "international_unit",
        "[iU]": "international_unit",
        "[IU]": "international_unit",
        "m[Hg]": "meter_of_mercury",
        "Pa": "pascal",
    }
)
"""UCUM atoms that take prefixes. `U` is UCUM's enzyme unit, but on insulin pumps, pens and in HL7's own
examples it is the international unit; here it is that and nothing else."""
_BARE_ATOMS: MappingProxyType[str, str] = MappingProxyType(
    {
        "min": "minute",
        "h": "hour",
        "d": "day",
        "wk": "week",
        "mo": "month",
        "a": "year",
        "%": "percent",
        "Cel": "degree_Celsius",
        "[degF]": "degree_Fahrenheit",
        "[lb_av]": "pound",
        "[in_i]": "inch",
    }
)
_PREFIXES: MappingProxyType[str, float] = MappingProxyType(
    {"k": 1e3, "h": 1e2, "da": 1e1, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
)
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_COMPONENT = re.compile(
    r"(?P<factor>1|10\*-?\d{1,2}|[1-9]\d{0,5})"
    r"|(?P<symbol>(?:[A-Za-z%]|\[[A-Za-z_]+\])+)(?P<power>-?[1-9])?"
)


class Conversion(NamedTuple):
    """value in the new unit = value * factor + offset (offset is 0 but for temperatures)."""

    factor: float
    offset: float


@lru_cache(maxsize=8192)
def conversion(name: str, from_unit: str, to_unit: str) -> Conversion:
    """How values of the quantity or drug `name` go from one UCUM unit to another; cached.

    Raises UnknownUnitError for a spelling that is no known UCUM unit, WrongDimensionError where the two
    units measure different things (and no molar mass of `name` joins them).
    """
    if from_unit == to_unit:
        _parse(from_unit)
        return Conversion(1.0, 0.0)
    source, target = _parse(from_unit), _parse(to_unit)
    molar_mass = MOLAR_MASS_G_PER_MOL.get(name)
    if source.dimensionality != target.dimensionality and molar_mass is not None:
        per_mole = _registry().Quantity(molar_mass, "gram / mole")
        for candidate in (source * per_mole, source / per_mole):
            if candidate.dimensionality == target.dimensionality:
                source = candidate
                break
    if source.dimensionality != target.dimensionality:
        raise WrongDimensionError(
            f"{from_unit} given for {name}: it measures {_dimension(source)}; "
            f"expected {_dimension(target)}, such as {to_unit}",
            remedy=f"have the device send {name} in {to_unit} or a unit of the same dimension",
        )
    if "degree" in f"{source.units}{target.units}":
        to = _registry().Quantity
        at_zero, at_one = (float(to(x, source.units).to(target.units).m) for x in (0.0, 1.0))
        return Conversion(at_one - at_zero, at_zero)
    return Conversion(float((source / target).to_base_units().m), 0.0)


def to_canonical(name: str, value: float, unit: str, canonical_unit: str) -> float:
    """`value` of `name` in its canonical unit. Raises like `conversion`."""
    factor, offset = conversion(name, unit, canonical_unit)
    return value * factor + offset


def rate_unit(drug_unit: str) -> str:
    """The canonical unit of a rate of a drug whose amounts are kept in `drug_unit`."""
    return f"{drug_unit}/h"


@cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry()
    registry.define("international_unit = [international_activity]")
    registry.define("meter_of_mercury = 133322.387415 * pascal")
    return registry


@lru_cache(maxsize=8192)
def _parse(unit: str) -> Any:
    """The pint quantity of a UCUM unit: components joined by `.` and `/`, read from left to right."""
    bare = _ANNOTATION.sub("", unit)
    registry = _registry()
    if bare in ("Cel", "[degF]"):
        return registry.Quantity(1.0, _BARE_ATOMS[bare])
    result = registry.Quantity(1.0, "dimensionless")
    if bare == "" and unit:
        return result  # an annotation alone ({INR}) is dimensionless
    divide = bare.startswith("/")
    for index, token in enumerate(re.split(r"([./])", bare.removeprefix("/"))):
        if index % 2:
            divide = token == "/"
            continue
        component = _component(token, unit)
        result = result / component if divide else result * component
    return result


def _component(token: str, unit: str) -> Any:
    registry = _registry()
    found = _COMPONENT.fullmatch(token)
    if found is None:
        raise _unknown(unit)
    if found["factor"]:
        base, _, exponent = found["factor"].partition("*")
        return registry.Quantity(float(base) ** int(exponent or 1), "dimensionless")
    symbol, power = found["symbol"], int(found["power"] or 1)
    if symbol in ("Cel", "[degF]"):
        raise _unknown(unit)  # temperatures are no factor of anything here
    if symbol in _BARE_ATOMS:
        return registry.Quantity(1.0, _BARE_ATOMS[symbol]) ** power
    if symbol in _ATOMS:
        return registry.Quantity(1.0, _ATOMS[symbol]) ** power
    for prefix, factor in _PREFIXES.items():
        atom = _ATOMS.get(symbol.removeprefix(prefix)) if symbol.startswith(prefix) else None
        if atom is not None:
            return registry.Quantity(factor, atom) ** power
    raise _unknown(unit)


def _unknown(unit: str) -> UnknownUnitError:
    return UnknownUnitError(
        f"{unit!r} is no UCUM unit known here; expected one such as mg/dL, mmol/L, ug, U, U/h, /min, mm[Hg]",
        remedy="UCUM is case-sensitive and writes micro as u (ug, not mcg); have the device spell it so",
    )


def _dimension(quantity: Any) -> str:
    return str(quantity.dimensionality)
