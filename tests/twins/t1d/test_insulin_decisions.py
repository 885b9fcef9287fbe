"""Candidates, their scores, and what is ordered."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtri

from dosetwin.platform.contracts import Order
from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_filter import propagate
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h
from dosetwin.twins.models.glucose_sensor import error_after
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.policies import insulin_candidates as candidates
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies import insulin_scores as scores
from dosetwin.twins.policies.insulin_appraisal import time_to_event

from .conftest import START_S, Make


def appraised(bank: EnsembleBank, event: Make, glucose: float, slope: float = 0.0) -> Appraisal:
    facts = [("anna", event("observation", glucose + slope * (k - 11), 5.0 * k)) for k in range(12)]
    bank.assimilate(facts)
    return bank.decide(["anna"], [facts[-1][1].at_s])


def test_shapes_and_names(bank: EnsembleBank, event: Make) -> None:
    made = appraised(bank, event, 150.0)
    count = len(candidates.CANDIDATES)
    assert 8 <= count <= 24
    assert (
        made.utility.shape
        == made.attainment.shape
        == made.feasible.shape
        == made.lowest["glucose"].shape
        == (1, count)
    )
    assert set(made.risks) == {"below_70", "below_54", "above_250"}
    assert made.bands["glucose"].shape == made.bands["insulin"].shape == (1, 5, 16)
    assert made.step_s == 1200.0
    assert (np.diff(made.bands["glucose"], axis=1) >= 0.0).all()
    assert len(made.orders[0]) == count
    assert "mg/dL" in made.reasons[0]
    assert made.on_board["insulin"].shape == (1,)
    assert "mg/dL" in made.would_change[0]


def test_more_insulin_lowers_glucose(bank: EnsembleBank, event: Make) -> None:
    made = appraised(bank, event, 220.0)
    first, last = candidates.FIRST_BOLUS, candidates.FIRST_BOLUS + candidates.WITH_BASAL
    suspended = candidates.CANDIDATES.index("suspend 30 min")
    lowest = made.lowest["glucose"][0]
    for group in (
        range(first),
        [candidates.BASAL, *range(first, last)],
        [suspended, *range(last, len(candidates.CANDIDATES))],
    ):
        assert (np.diff(lowest[list(group)]) < 0.0).all()
    for risk in ("below_70", "below_54"):
        assert (
            np.diff(made.risks[risk][0, [suspended, *range(last, len(candidates.CANDIDATES))]]) > -0.01
        ).all()
        assert made.risks[risk][0, -1] > made.risks[risk][0, suspended]


def test_high_glucose_gets_insulin_and_falling_low_glucose_none(event: Make) -> None:
    outcomes = {}
    for name, glucose, slope in (("high", 260.0, 0.0), ("low", 50.0, -4.0)):
        bank = EnsembleBank(1, seed=11)
        bank.enrol("anna", at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
        outcomes[name] = appraised(bank, event, glucose, slope)
    high, low = outcomes["high"], outcomes["low"]
    assert candidates.CANDIDATES[high.best[0]] not in ("suspend 30 min", "basal x 0.5", "basal")
    assert candidates.CANDIDATES[low.best[0]] == "suspend 30 min"
    assert low.orders[0][low.best[0]][0] == Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=0.0, unit="U/h", duration_s=1800.0
    )
    assert np.isfinite(low.time_to_event_s[0])


def test_a_forecast_is_the_filter_run_on_under_the_law(bank: EnsembleBank, event: Make) -> None:
    """The kernel in steps of 10 min against the filter's own step of 5 min, member by member, without
    noise."""
    appraised(bank, event, 180.0)
    x = bank.ensemble("anna")
    x[row.FLUX] = 0.0
    x[row.D1] += 0.5
    x[row.D0] += 0.2
    members = row.MEMBERS
    u, order, bolus, correction, goal, minute = 0.19, 0.05, 40.0, 0.35, 105.0, 400.0
    one = np.ones((1, 1), np.float32)
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr(row, "FLUX_SD", 0.0)
        quiet.setattr(row, "DRIFT_PER_SQRT_DAY", dict.fromkeys(row.DRIFT_PER_SQRT_DAY, 0.0))
        outlook = horizon.Outlook(
            infused=jnp.zeros((1, 1)),
            basal=jnp.asarray(one[0] * u),
            rate=jnp.asarray(one * order),
            bolus=jnp.asarray(one * bolus),
            correction=jnp.asarray(one[0] * correction),
            goal=jnp.asarray(one[0] * goal),
            low=jnp.asarray(one[0] * 70.0),
            high=jnp.asarray(one[0] * 180.0),
            bounds=jnp.ones((2, 1)),
            floor=jnp.zeros(1),
            minute=jnp.asarray(one[0] * minute),
            key=jnp.zeros(1, jnp.uint32),
        )
        got = jax.jit(horizon.forecast)(jnp.asarray(x)[:, :, None], outlook)
        # members as patients, so that each can have a delivery of its own
        acts = np.asarray(horizon._action(members))[:, 0]
        even = ndtri((np.arange(members) + 0.5) / members)
        np.testing.assert_allclose(np.sort(acts), horizon.ACTION_SD * even, rtol=1e-5, atol=1e-6)
        state = jnp.asarray(x)[:, None, :].at[row.S1].add(bolus)
        state = state.at[np.array([row.LN_SIT, row.LN_SID, row.LN_SIE]), 0].add(acts)
        earlier = np.asarray(state[row.Q1, 0])
        five = jnp.full(members, 5.0)
        step = jax.jit(
            lambda s, u, at: (
                propagate(s, five, u, jnp.zeros(members, jnp.uint32), at).at[row.BIAS].set(s[row.BIAS])
            )
        )
        for k in range(horizon.STEPS):
            Q1, S = state[row.Q1, 0], state[row.S1, 0] + state[row.S2, 0]
            glucose = np.asarray(Q1) / V_G * MG_DL_PER_MMOL_L
            error = np.asarray(error_after(jnp.asarray(x[row.BIAS]), np.exp(-k * 10.0 / 42.0), 0.0))
            shown = glucose + error * (7.0 + 0.03 * glucose)
            shown += 6.0 * np.minimum(Q1 - earlier, 0.0) / V_G * MG_DL_PER_MMOL_L
            earlier = np.asarray(Q1)
            held = 2.0 * u * np.exp(x[row.LN_TI])
            law = np.clip(u + (correction * (shown - goal) - (np.asarray(S) - held)) / 90.0, 0.0, u)
            rate = jnp.asarray(law if k >= 3 else np.full(members, order), jnp.float32)
            for half in (2.5, 7.5):
                state = step(state, rate, minute + 10.0 * k + half)
            if k % 2:
                glucose = np.asarray(state[row.Q1, 0]) / V_G * MG_DL_PER_MMOL_L
                np.testing.assert_allclose(
                    got.glucose[k // 2 + 1, :, 0], glucose, rtol=1.2e-2, err_msg=f"step {k}"
                )
                np.testing.assert_allclose(got.insulin[k // 2 + 1, :, 0], state[row.PLASMA, 0], rtol=2e-2)


def test_nothing_is_ordered_that_the_pump_already_does(bank: EnsembleBank, event: Make) -> None:
    at_s = START_S + 55.0 * 60.0
    appraised(bank, event, 150.0)
    unknown = bank.decide(["anna"], [at_s])
    assert unknown.orders[0][candidates.BASAL][0].amount == pytest.approx(0.8), (
        "a pump nobody heard of is told"
    )
    bank.assimilate([("anna", event("rate", basal_U_per_h(40.0), 54.0))])
    made = bank.decide(["anna"], [at_s])
    assert made.orders[0][candidates.BASAL] == ()
    suspend = candidates.CANDIDATES.index("suspend 30 min")
    bank.assimilate([("anna", event("rate", 0.0, 55.0))])
    running = bank.decide(["anna"], [at_s])
    assert running.orders[0][suspend] == (), "30 min are left of it"
    assert running.orders[0][candidates.BASAL][0].amount == pytest.approx(0.8)
    nearly_over = bank.decide(["anna"], [at_s + 21 * 60.0])
    assert nearly_over.orders[0][suspend][0].amount == 0.0, "9 min are left of it: renewed"


def test_boluses_are_rounded_down_to_what_the_pump_can_give(bank: EnsembleBank, event: Make) -> None:
    made = appraised(bank, event, 243.0)
    for orders in made.orders[0]:
        for order in orders:
            if order.kind == "bolus":
                assert order.amount / 0.05 == pytest.approx(round(order.amount / 0.05), abs=1e-6)
                assert 0.0 < order.amount <= 10.0
    np.testing.assert_allclose(
        candidates.round_down(np.array([0.149, 0.15, 0.0, -1.0]), 0.05), [0.1, 0.15, 0, 0]
    )


def test_insulin_on_board_is_what_exceeds_the_programme(bank: EnsembleBank, event: Make) -> None:
    appraised(bank, event, 150.0)
    at_s = START_S + 55.0 * 60.0
    assert bank.decide(["anna"], [at_s]).on_board["insulin"][0] == pytest.approx(0.0, abs=0.1)
    bank.assimilate([("anna", event("bolus", 4.0, 55.0))])
    assert bank.decide(["anna"], [at_s]).on_board["insulin"][0] == pytest.approx(4.0, abs=0.1)
    assert 0.5 < bank.decide(["anna"], [at_s + 5400.0]).on_board["insulin"][0] < 3.5


def test_risk_function_is_the_published_one_and_weighs_low_more() -> None:
    glucose = np.array([30.0, 54.0, 70.0, 112.5, 118.0, 180.0, 250.0, 400.0])
    counted = np.where(glucose > 112.5, np.maximum(glucose / scores.ZONE, 112.5), glucose)
    f = 1.509 * (np.log(counted) ** 1.084 - 5.381)
    expected = 10.0 * f**2 * np.where(f < 0.0, scores.LOW_WEIGHT, scores.HIGH_WEIGHT)
    np.testing.assert_allclose(scores.risk(jnp.log(jnp.asarray(glucose))), expected, rtol=0.02, atol=0.05)
    assert scores.risk(jnp.log(jnp.asarray(118.0))) == pytest.approx(0.0, abs=0.01), (
        "nothing is at stake there"
    )


def test_choice_holds_to_the_constraints_first() -> None:
    utility = jnp.asarray([[-3.0], [-2.0], [-1.0]])
    below = jnp.asarray([[0.0], [0.03], [0.20]])
    bounds = jnp.asarray([[0.05], [0.02]])
    feasible = scores.within_constraints(below, below * 0.1, bounds)
    low = jnp.asarray([[60.0], [50.0], [58.0]])
    assert scores.within_constraints(below * 0, below * 0, bounds, low, jnp.asarray([54.0]))[
        :, 0
    ].tolist() == [
        True,
        False,
        True,
    ], "not where the supervisor would suspend"
    assert feasible[:, 0].tolist() == [True, True, False]
    assert int(scores.choose(utility, feasible, below, below * 0.1)[0]) == 1
    none = jnp.zeros((3, 1), bool)
    assert int(scores.choose(utility, none, below, below * 0.1)[0]) == 0


def test_a_patient_is_decided_alike_in_any_company(event: Make) -> None:
    """Alone, among a few, and in groups of groups; an infusion next door changes nothing either."""
    bank = EnsembleBank(400, seed=11)
    names = [f"p{k}" for k in range(330)]
    for k, name in enumerate(names):
        bank.enrol(
            name, at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 30.0 + k / 10}, targets={}
        )
    bank.assimilate([(name, event("observation", 90.0 + k / 2, 0.0)) for k, name in enumerate(names)])
    bank.assimilate([(names[5], event("infusion", 2.0, 1.0, duration_s=7200.0))])
    at_s = START_S + 300.0
    together = bank.decide(names, [at_s] * len(names))
    for some in ([4], [255, 256, 300], list(range(300, 330))):
        fewer = bank.decide([names[k] for k in some], [at_s] * len(some))
        np.testing.assert_array_equal(fewer.best, together.best[some])
        np.testing.assert_allclose(fewer.utility, together.utility[some], rtol=2e-4, atol=2e-4)
        for name, band in fewer.bands.items():
            np.testing.assert_allclose(band, together.bands[name][some], rtol=2e-3, err_msg=name)
        assert [fewer.orders[i][fewer.best[i]] for i in range(len(some))] == [
            together.orders[k][together.best[k]] for k in some
        ]
        assert fewer.reasons == [together.reasons[k] for k in some]


def test_low_quantile_is_that_of_sorted_members() -> None:
    rng = np.random.default_rng(6)
    for members in (32, 64):
        values = rng.integers(0, 12, (8, members, 5)).astype(np.float32)
        expected = np.quantile(values, 0.05, axis=1, method="weibull")
        got = jax.jit(lambda v: scores.low_quantile(v, 0.05))(values)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_time_to_event_is_where_the_median_crosses() -> None:
    median = np.array([[100.0, 80.0, 60.0], [100.0, 100.0, 100.0], [65.0, 90.0, 90.0], [240.0, 260.0, 300.0]])
    np.testing.assert_allclose(time_to_event(median, 900.0), [1350.0, np.nan, 0.0, 450.0])
