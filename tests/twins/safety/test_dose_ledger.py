"""The dose ledger against a slow oracle that integrates second by second."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.safety.dose_ledger import DoseLedger

HOURS = st.integers(0, 40)
RATES = st.lists(st.tuples(HOURS, st.floats(0, 10)), max_size=12, unique_by=lambda event: event[0])
AMOUNTS = st.lists(st.tuples(HOURS, st.floats(0, 20)), max_size=12)


def given_slowly(
    rates: list[tuple[int, float]], amounts: list[tuple[int, float]], now_h: int, window_h: int
) -> float:
    total = sum(amount for at_h, amount in amounts if now_h - window_h <= at_h <= now_h)
    for hour in range(max(0, now_h - window_h), now_h):
        running = [rate for at_h, rate in sorted(rates) if at_h <= hour]
        total += running[-1] if running else 0.0
    return total


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RATES, AMOUNTS, st.randoms(), st.integers(40, 41))
def test_given_equals_the_slow_sum_in_any_order_of_reports(rates, amounts, chance, now_h) -> None:  # type: ignore[no-untyped-def]
    ledger = DoseLedger(window_s=30 * 3600.0)
    reports = [("rate", *event) for event in rates] + [("amount", *event) for event in amounts]
    chance.shuffle(reports)
    for kind, at_h, value in reports:
        if kind == "rate":
            ledger.add_rate(at_h * 3600.0, value)
        else:
            ledger.add_amount(at_h * 3600.0, value)
    assert ledger.given(now_h * 3600.0) == pytest.approx(given_slowly(rates, amounts, now_h, 30), abs=1e-9)


def test_old_reports_are_forgotten_and_the_window_still_answers() -> None:
    ledger = DoseLedger()
    for hour in range(24 * 10):
        ledger.add_rate(hour * 3600.0, 1.0 + hour % 2)
        ledger.add_amount(hour * 3600.0, 0.5)
    assert len(ledger.rates) < 60
    assert len(ledger.amounts) < 60
    now_s = (24 * 10 - 1) * 3600.0
    assert ledger.given(now_s) == pytest.approx(24 * 1.5 + 25 * 0.5)


def test_rate_at_is_none_before_the_first_report() -> None:
    ledger = DoseLedger()
    ledger.add_rate(100.0, 2.0)
    assert ledger.rate_at(99.0) is None
    assert ledger.rate_at(100.0) == 2.0
