"""When to take the next level: closed form where there is one, nested Monte Carlo where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dosetwin.twins.policies.regimen_sampling import Preposterior, best_time, preposterior
from dosetwin.twins.precision import double_precision


def looked_ahead(*arrays: Any) -> Preposterior:
    with double_precision():
        return preposterior(*arrays)


def test_normal_levels_and_areas_have_their_textbook_variance() -> None:
    """Area and level jointly normal: of the variance 1 - rho^2 / (1 + s^2) is left, whatever comes."""
    rng = np.random.default_rng(3)
    S, correlations, s = 4000, np.array([0.0, 0.5, 0.9]), 0.5
    area = rng.standard_normal(S)
    mean = correlations * area[:, None] + np.sqrt(1 - correlations**2) * rng.standard_normal((S, 3))
    found = looked_ahead(mean, np.full_like(mean, s), area, np.zeros((S, 1)))
    np.testing.assert_allclose(found.variance, 1 - correlations**2 / (1 + s**2), atol=0.06)
    np.testing.assert_allclose(found.worth, 0.0, atol=1e-12)


def test_what_a_level_is_worth() -> None:
    """Two kinds of patient, each with a right choice, and a level that tells them apart: worth all."""
    kind = np.arange(64) % 2
    utility = np.stack([kind == 0, kind == 1], axis=1) * 1.0
    mean = np.stack([10.0 + 20.0 * kind, np.full(64, 15.0)], axis=1)
    found = looked_ahead(mean, np.full_like(mean, 0.5), 400.0 + 200.0 * kind, utility)
    np.testing.assert_allclose(found.worth, [0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.variance, [0.0, 1e4], atol=1e-3)


def test_the_time_weighs_what_a_level_tells_against_when_it_tells_it() -> None:
    """Averages over a day of 100 until the level and of what is left after it, by hand."""
    hours = np.array([2.0, 8.0, 12.0, 20.0])
    variance = np.array([[90.0, 52.0, 40.0, 30.0]] * 4 + [[100.0] * 4])
    averages = (hours * 100 + (24 - hours) * variance[0]) / 24
    assert averages.argmin() == 1, "8 h: 768 and 720 of the squares that two others save"
    allowed = np.array(
        [[True] * 4, [True, False, True, True], [True, False, False, False], [False] * 4, [True] * 4]
    )
    chosen = best_time(variance, allowed, np.full(5, 100.0), hours)
    assert chosen.tolist() == [1, 2, 0, -1, -1]


@pytest.mark.slow
def test_the_time_agrees_with_nested_monte_carlo() -> None:
    """Three real posteriors: for every hour, levels drawn and samples weighted anew, 4,000 times."""
    from dosetwin.twins.events import TwinEvent
    from dosetwin.twins.policies import regimen_levels
    from dosetwin.twins.policies.regimen_standing import over_patients
    from dosetwin.twins.therapies.vancomycin import ADDITIVE_MG_L, PROPORTIONAL, make_bank

    caught: dict[str, np.ndarray] = {}
    real = over_patients

    def listening(call, n, each, shared=()):  # type: ignore[no-untyped-def]
        result = real(call, n, each, shared)
        if len(each) == 4:
            caught.update(mean=each[0], sd=each[1], area=each[2], variance=result.variance)
        return result

    T0, H = 1.7e9, 3600.0
    twins = make_bank(4, 0)
    for name, creatinine in (("a", 0.8), ("b", 1.6), ("c", 3.0)):
        twins.enrol(
            name,
            at_s=T0,
            covariates={"age": 60.0, "weight": 80.0, "sex": 1.0, "creatinine": creatinine},
            targets={},
        )
    dose = TwinEvent(T0, "infusion", "vancomycin", 2000.0, 1, 2 * H)
    twins.assimilate([(name, dose) for name in "abc"])
    monkey = pytest.MonkeyPatch()
    monkey.setattr(regimen_levels, "over_patients", listening)
    found = twins.decide(list("abc"), [T0 + 6 * H] * 3)
    monkey.undo()
    rng = np.random.default_rng(5)
    hours = regimen_levels.ASK_H
    for i in range(3):
        f, area = caught["mean"][i], caught["area"][i]
        np.testing.assert_allclose(caught["sd"][i], np.hypot(ADDITIVE_MG_L, PROPORTIONAL * f), rtol=1e-9)
        brute = np.empty(len(hours))
        for k in range(len(hours)):
            level, sd = f[:, k], np.hypot(ADDITIVE_MG_L, PROPORTIONAL * f[:, k])
            true = rng.integers(0, len(level), 4000)
            y = level[true] + sd[true] * rng.standard_normal(4000)
            log_w = -0.5 * ((y[:, None] - level) / sd) ** 2 - np.log(sd)
            w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
            w /= w.sum(axis=1, keepdims=True)
            brute[k] = (w @ area**2 - (w @ area) ** 2).mean()
        np.testing.assert_allclose(np.sqrt(caught["variance"][i]), np.sqrt(brute), rtol=0.1)
        chosen = int(np.flatnonzero(hours == found.evidence["next_sample_h"][i])[0])
        gain = (area.var() - brute) * (24 - hours)
        plan_free = hours >= 4  # every plan's infusions are over
        assert gain[chosen] > 0.85 * gain[plan_free].max()
