from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from dosetwin.platform.errors import UnitError, UnknownUnitError, WrongDimensionError
from dosetwin.platform.units import (
    CANONICAL_UNITS,
    CONCENTRATION_UNITS,
    MOLAR_MASS_G_PER_MOL,
    conversion,
    rate_unit,
    to_canonical,
)

ORACLE = PintUcumRegistry()
SAME_DIMENSION = [
    ("mg/dL", "g/L", "mg/L", "ug/mL", "ng/mL", "ug/L", "kg/m3", "mg/l"),
    ("mmol/L", "umol/L", "mol/m3", "nmol/mL"),
    ("mg", "ug", "g", "kg", "ng", "[lb_av]"),
    ("mg/h", "ug/min", "g/d", "ug/h"),
    ("mm[Hg]", "kPa", "Pa", "cm[Hg]"),
    ("/min", "/s", "/h", "ug/kg/min", "mg/kg/h"),
    ("min", "h", "s", "d", "wk", "a", "mo"),
    ("%", "1", "10*-2"),
    ("cm", "m", "mm", "[in_i]"),
    ("10*9/L", "10*3/uL"),
    ("mL/min", "L/h", "dL/d"),
]
# IUPAC 2021 abridged standard atomic weights
ATOMIC_WEIGHT = {"C": 12.011, "H": 1.008, "N": 14.007, "O": 15.999, "Cl": 35.45}
FORMULAS = {
    "glucose": {"C": 6, "H": 12, "O": 6},
    "creatinine": {"C": 4, "H": 7, "N": 3, "O": 1},
    "vancomycin": {"C": 66, "H": 75, "Cl": 2, "N": 9, "O": 24},
    "remifentanil": {"C": 20, "H": 28, "N": 2, "O": 5},
    "quinidine": {"C": 20, "H": 24, "N": 2, "O": 2},
    "phenobarbital": {"C": 12, "H": 12, "N": 2, "O": 3},
}


@pytest.mark.parametrize("units", SAME_DIMENSION, ids=lambda units: units[0])
def test_every_factor_is_that_of_an_independent_reading_of_ucum(units: tuple[str, ...]) -> None:
    for source in units:
        for target in units:
            expected = (ORACLE.from_ucum(source) / ORACLE.from_ucum(target)).to_base_units()
            assert str(expected.units) == "dimensionless"
            assert conversion("anything", source, target) == pytest.approx((float(expected.m), 0.0))


def test_units_of_different_rows_never_convert() -> None:
    for i, row in enumerate(SAME_DIMENSION):
        for j, other in enumerate(SAME_DIMENSION):
            if i != j:
                with pytest.raises(WrongDimensionError):
                    conversion("anything", row[0], other[0])


def test_molar_masses_are_those_of_the_formulas() -> None:
    assert set(FORMULAS) == set(MOLAR_MASS_G_PER_MOL)
    for name, formula in FORMULAS.items():
        mass = sum(ATOMIC_WEIGHT[element] * count for element, count in formula.items())
        assert MOLAR_MASS_G_PER_MOL[name] == pytest.approx(mass, rel=5e-5), name


def test_mass_and_amount_meet_only_where_a_molar_mass_is_recorded() -> None:
    assert to_canonical("glucose", 5.5, "mmol/L", "mg/dL") == pytest.approx(99.0858)
    assert to_canonical("creatinine", 88.4, "umol/L", "mg/dL") == pytest.approx(1.0, abs=1e-3)
    assert to_canonical("glucose", 99.0858, "mg/dL", "mmol/L") == pytest.approx(5.5)
    with pytest.raises(WrongDimensionError, match="carbohydrate"):
        conversion("carbohydrate", "mmol", "g")


def test_international_units_are_neither_mass_nor_number() -> None:
    assert conversion("insulin", "[iU]/h", "U/h") == (1.0, 0.0)
    assert conversion("insulin", "mU/min", "U/h") == pytest.approx((0.06, 0.0))
    for other in ("mg", "1", "mmol", "U/h", "mL"):
        with pytest.raises(WrongDimensionError):
            conversion("insulin", other, "U")


def test_temperatures_have_an_offset() -> None:
    assert to_canonical("temperature", 98.6, "[degF]", "Cel") == pytest.approx(37.0)
    assert to_canonical("temperature", 37.0, "Cel", "[degF]") == pytest.approx(98.6)


NO_UNITS = [
    "mcg",
    "MG/DL",
    "mg//L",
    "mg/",
    "IU",
    "µg",
    "mgdl",
    "units",
    "mg/dL/",
    "k",
    "2x",
    "/0",
    "10*999",
    "m99",
    "Cel/min",
    "",
    " mg",
    "mg dL",
]


@pytest.mark.parametrize("unit", NO_UNITS)
def test_unknown_spellings_are_not_guessed(unit: str) -> None:
    with pytest.raises(UnknownUnitError) as caught:
        conversion("glucose", unit, "mg/dL")
    assert caught.value.remedy


def test_the_two_faults_can_be_told_apart() -> None:
    assert issubclass(UnknownUnitError, UnitError)
    assert issubclass(WrongDimensionError, UnitError)
    assert not issubclass(UnknownUnitError, WrongDimensionError)


@given(st.text(max_size=12))
def test_any_text_is_a_unit_or_a_unit_error(text: str) -> None:
    with contextlib.suppress(UnitError):
        assert conversion("glucose", text, "mg/dL").factor > 0


@given(st.sampled_from(SAME_DIMENSION), st.data())
def test_there_and_back_is_where_it_was(units: tuple[str, ...], data: st.DataObject) -> None:
    source, target = data.draw(st.sampled_from(units)), data.draw(st.sampled_from(units))
    value = data.draw(st.floats(1e-3, 1e6))
    assert to_canonical("x", to_canonical("x", value, source, target), target, source) == pytest.approx(value)


def test_every_canonical_unit_is_a_unit_and_so_is_its_rate() -> None:
    for name, unit in (*CANONICAL_UNITS.items(), *CONCENTRATION_UNITS.items()):
        assert conversion(name, unit, unit) == (1.0, 0.0)
    assert conversion("insulin", "U/min", rate_unit("U")) == pytest.approx((60.0, 0.0))
