from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.twins.dosing.products import Limits, Product, Regimen, feasible_amounts
from dosetwin.twins.models.errors import ModelError


def test_amounts_are_what_the_tablets_make_with_the_fewest_pieces() -> None:
    made = feasible_amounts([Product("5 mg", 5, part=0.5, most=2), Product("1 mg", 1, most=3)], Limits(9))
    assert list(made) == [1, 2, 2.5, 3, 3.5, 4.5, 5, 5.5, 6, 7, 7.5, 8, 8.5]
    assert made[5] == "1 x 5 mg"
    assert made[4.5] == "0.5 x 5 mg + 2 x 1 mg"


@given(
    strengths=st.lists(st.sampled_from([0.5, 1.0, 2.5, 7.5, 40.0]), min_size=1, max_size=3, unique=True),
    most=st.integers(1, 6),
    highest=st.floats(1, 200),
)
def test_no_amount_is_above_the_limit_or_not_made_by_the_products(
    strengths: list[float], most: int, highest: float
) -> None:
    products = [Product(f"{s}", s, most=most) for s in strengths]
    sums = {0.0}
    for s in strengths:
        sums = {round(a + k * s, 9) for a in sums for k in range(most + 1)}
    expected = sorted(a for a in sums if 0 < a <= highest * (1 + 1e-9))
    if not expected:
        with pytest.raises(ModelError, match="found no amount"):
            feasible_amounts(products, Limits(highest))
        return
    assert list(feasible_amounts(products, Limits(highest))) == pytest.approx(expected)


def test_every_limit_counts() -> None:
    twice = Regimen(500, interval=12, count=4, duration=1)
    assert Limits(500, highest_daily=1000, highest_rate=500).allow(twice)
    assert not Limits(499).allow(twice)
    assert not Limits(500, highest_daily=999).allow(twice)
    assert not Limits(500, highest_rate=499).allow(twice)
    assert not Limits(500, lowest_dose=501).allow(twice)
    loaded = Regimen(500, interval=12, count=4, duration=1, loading=750)
    assert not Limits(700, highest_daily=5000).allow(loaded)
    assert not Limits(1000, highest_daily=1200).allow(loaded)
    assert Limits(1000, highest_daily=1250).allow(loaded)


def test_a_regimen_is_its_doses() -> None:
    regimen = Regimen(500, 12, 3, duration=2, loading=750, contents="1 x vial")
    doses = regimen.doses(36)
    assert [(d.time, d.amount, d.duration) for d in doses] == [(36, 750, 2), (48, 500, 2), (60, 500, 2)]
    assert regimen.text("mg", "h") == "500 mg every 12 h over 2 h, first 750 mg (1 x vial)"
    assert Regimen(5, 24, 1).text("mg", "h") == "5 mg once"


def test_mistakes_are_named() -> None:
    with pytest.raises(ModelError, match="strength 0"):
        Product("nothing", 0)
    with pytest.raises(ModelError, match="found over 100000"):
        feasible_amounts([Product("dust", 1e-6)], Limits(1000))
    with pytest.raises(ModelError, match="finite highest dose"):
        Limits(math.inf)
    with pytest.raises(ModelError, match="no product"):
        feasible_amounts([], Limits(10))
