"""The bank's protocol: prediction, censoring, outliers, snapshots, slots, covariates, absurd but legal
input."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.platform.errors import SnapshotError, TherapyError
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import LARGEST_BATCH, EnsembleBank, batch_size
from dosetwin.twins.estimators.ensemble_filter import predicted_readings
from dosetwin.twins.therapies import load_therapy

from .conftest import START_S, Make

COVARIATES = {"weight": 70.0, "total_daily_dose": 40.0}


def settle(bank: EnsembleBank, event: Make, glucose: float = 130.0, readings: int = 12) -> float:
    """An hour of equal readings; returns the event time of the last."""
    facts = [("anna", event("observation", glucose, 5.0 * k)) for k in range(readings)]
    bank.assimilate(facts)
    return facts[-1][1].at_s


def glucose_of(bank: EnsembleBank, at_s: float) -> tuple[float, float, float]:
    median, low, high = bank.decide(["anna"], [at_s]).estimates["glucose"][1][0]
    return float(median), float(low), float(high)


def test_the_therapy_makes_this_bank() -> None:
    therapy = load_therapy("t1d-insulin")
    made = therapy.make_bank(4, 1)
    assert isinstance(made, EnsembleBank)
    assert made.therapy == therapy.id
    assert set(therapy.limits) == {
        "maximum_rate",
        "maximum_times_basal",
        "maximum_bolus",
        "maximum_on_board",
        "maximum_24h",
        "maximum_given_since",
        "suspend_below",
        "suspend_predicted_below",
        "stale_after",
        "flat_after",
        "noise_above",
        "minimum_spacing",
        "sensor_error_at",
        "sensor_error_below",
        "minimum_interval",
    }
    assert all(bound.source for bound in therapy.limits.values())


def test_readings_narrow_and_move_the_twin(bank: EnsembleBank, event: Make) -> None:
    first = bank.assimilate([("anna", event("observation", 210.0, 0.0))]).predictions[0]
    assert first is not None
    facts = [("anna", event("observation", 210.0, 5.0 * k)) for k in range(1, 12)]
    last = bank.assimilate(facts).predictions[-1]
    assert last is not None
    assert last.high - last.low < 0.4 * (first.high - first.low)
    assert last.low < 210.0 < last.high
    assert glucose_of(bank, facts[-1][1].at_s)[0] == pytest.approx(210.0, abs=20.0)


def test_a_low_reading_without_a_number_lowers_the_twin_and_stays_uncertain(event: Make) -> None:
    """ "LOW" (below 40): glucose comes down to below it; a number of 40 would pin it there."""
    ends = {}
    for name, censored in (("low", -1), ("forty", 0)):
        bank = EnsembleBank(1, seed=11)
        bank.enrol("anna", at_s=START_S, covariates=COVARIATES, targets={})
        settle(bank, event, 75.0)
        facts = [("anna", event("observation", 40.0, 60.0 + 5.0 * k, censored=censored)) for k in range(6)]
        bank.assimilate(facts)
        x = bank.ensemble("anna")
        ends[name] = np.asarray(predicted_readings(jnp.asarray(x)))
    assert ends["low"].mean() < 45.0
    assert ends["low"].mean() < ends["forty"].mean() + 1.0
    assert ends["low"].std() > 1.2 * ends["forty"].std()


def test_low_tells_nothing_new_to_a_twin_that_is_lower_already(bank: EnsembleBank, event: Make) -> None:
    settle(bank, event, 60.0)
    before = bank.ensemble("anna")
    bank.assimilate([("anna", event("observation", 200.0, 55.0, censored=-1))])
    np.testing.assert_allclose(bank.ensemble("anna"), before, rtol=1e-3, atol=1e-3)


def test_one_wild_reading_is_not_believed_and_an_hour_of_them_is(bank: EnsembleBank, event: Make) -> None:
    at_s = settle(bank, event)
    calm = glucose_of(bank, at_s)[0]
    bank.assimilate([("anna", event("observation", 45.0, 60.0))])
    once = glucose_of(bank, at_s + 300.0)[0]
    bank.assimilate([("anna", event("observation", 45.0, 60.0 + 5.0 * k)) for k in range(1, 13)])
    lasting = glucose_of(bank, at_s + 3900.0)[0]
    assert calm - once < 0.5 * (calm - 45.0), "an artefact is not believed at once"
    assert lasting < calm - 30.0, "but what lasts an hour is, and not taken for a compression low"


def test_snapshot_and_restore_are_exact(bank: EnsembleBank, event: Make) -> None:
    bank.enrol("bela", at_s=START_S, covariates={"weight": 60, "total_daily_dose": 33}, targets={"low": 80.0})
    for name in ("anna", "bela"):
        told = [(name, event("observation", 120.0 + k, 5.0 * k + 0.25)) for k in range(20)]
        told += [(name, event("rate", 0.3, 31.0)), (name, event("infusion", 1.0, 93.0, duration_s=1800.0))]
        told += [(name, event("bolus", 2.0, 40.0)), (name, event("meal", 30.0, 41.0))]
        bank.assimilate(told)
    payload = bank.snapshot(["anna", "bela"])
    other = EnsembleBank(1, seed=11)
    other.enrol("anna", at_s=START_S, covariates=COVARIATES, targets={})
    assert other.restore(payload) == ["anna", "bela"]
    assert other.snapshot(["anna", "bela"]) == payload
    # what happens next is the same, a late fact included
    later = [("bela", event("observation", 150.0, 100.0)), ("bela", event("bolus", 1.0, 52.0))]
    for each in (bank, other):
        each.assimilate(later)
    assert other.snapshot(["bela"]) == bank.snapshot(["bela"])
    assert other.nbytes() > 0


def test_a_snapshot_of_something_else_is_refused(bank: EnsembleBank) -> None:
    payload = bank.snapshot(["anna"])
    with pytest.raises(SnapshotError, match="expected"):
        EnsembleBank(1, seed=12).restore(payload)
    with pytest.raises(SnapshotError, match="not a snapshot"):
        bank.restore(b"\x00rubbish")


def test_enrolment_grows_withdrawal_frees(bank: EnsembleBank, event: Make) -> None:
    for k in range(40):
        bank.enrol(f"p{k}", at_s=START_S, covariates=COVARIATES, targets={})
    assert len(bank) == 41
    bank.assimilate([("p7", event("observation", 180.0, 0.0))])
    seen = bank.ensemble("p7")
    for k in range(30, 40):
        bank.withdraw(f"p{k}")
    bank.enrol("new", at_s=START_S, covariates=COVARIATES, targets={})
    assert "p35" not in bank
    assert "new" in bank
    assert len(bank) == 32
    np.testing.assert_array_equal(bank.ensemble("p7"), seen)
    with pytest.raises(TherapyError, match="p35"):
        bank.decide(["p35"], [START_S])
    with pytest.raises(TherapyError, match="total_daily_dose"):
        bank.enrol("x", at_s=START_S, covariates={"weight": 70.0}, targets={})


def test_an_equal_uid_is_taken_once(bank: EnsembleBank, event: Make) -> None:
    settle(bank, event)
    bolus = event("bolus", 3.0, 57.0, uid=77)
    bank.assimilate([("anna", bolus), ("anna", bolus)])
    once = bank.ensemble("anna")
    bank.assimilate([("anna", bolus)])
    np.testing.assert_array_equal(bank.ensemble("anna"), once)


def test_covariates_change_from_their_time_on(event: Make) -> None:
    heavy, plain = EnsembleBank(1, seed=3), EnsembleBank(1, seed=3)
    for bank in (heavy, plain):
        bank.enrol("anna", at_s=START_S, covariates=COVARIATES, targets={})
        settle(bank, event)
    heavy.enrol(
        "anna", at_s=START_S + 3600.0, covariates={**COVARIATES, "weight": 140.0}, targets={"low": 80.0}
    )
    before = [bank.ensemble("anna")[row.S1].mean() for bank in (heavy, plain)]
    assert before[0] == before[1]
    for bank in (heavy, plain):
        bank.assimilate([("anna", event("bolus", 5.0, 61.0, uid=900))])
    gained = [b.ensemble("anna")[row.S1].mean() - s for b, s in zip((heavy, plain), before, strict=True)]
    assert gained[0] == pytest.approx(0.5 * gained[1], rel=0.1)


@pytest.mark.parametrize("glucose", [20.0, 600.0])
def test_absurd_but_legal_input_leaves_numbers(bank: EnsembleBank, event: Make, glucose: float) -> None:
    facts = [event("observation", glucose, 5.0 * k) for k in range(30)]
    facts += [event("meal", 200.0, 10.0), event("bolus", 60.0, 30.0), event("meal", 200.0, 31.0)]
    facts += [event("rate", 35.0, 60.0), event("observation", 620.0 - glucose, 60.0 * 12.0 + 150.0)]
    facts += [event("observation", 600.0, 60.0 * 24 * 40)]
    facts += [event("observation", 600.0, 60.0 * 24 * 40 + 0.001), event("rate", 0.0, 60.0 * 24 * 40 + 400.0)]
    result = bank.assimilate([("anna", fact) for fact in facts])
    assert np.isfinite(bank.ensemble("anna")).all()
    assert all(np.isfinite([p.median, p.low, p.high]).all() for p in result.predictions if p is not None)
    late = max(fact.at_s for fact in facts)
    appraisal = bank.decide(["anna"], [late + 7200.0])
    for values in (
        appraisal.utility,
        *appraisal.lowest.values(),
        *appraisal.bands.values(),
        *appraisal.risks.values(),
    ):
        assert np.isfinite(values).all()


def test_a_twin_without_facts_can_be_asked(bank: EnsembleBank) -> None:
    appraisal = bank.decide(["anna"], [START_S])
    assert np.isfinite(appraisal.bands["glucose"]).all()
    median, low, high = glucose_of(bank, START_S)
    assert low < median < high
    assert high - low > 80.0, "before any reading a twin knows little"


def test_few_batch_sizes_are_compiled() -> None:
    sizes = {batch_size(n) for n in range(1, LARGEST_BATCH + 1)}
    assert sizes == {8, 64, 512}
