"""Simulations, NPDE and predictive checks against closed forms and slow loops; a wrong model is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics.npde import npde_tests, prediction_distribution_errors
from dosetwin.twins.diagnostics.simulate import simulate, simulated
from dosetwin.twins.diagnostics.vpc import VPC, _percentile, visual_predictive_check
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import cohort

from .conftest import ERROR, OMEGA2, TIMES, closed_form


def test_simulations_have_the_distribution_of_the_closed_form(
    model: PopulationModel, fits: IndividualFits, study: Dataset
) -> None:
    drawn = simulated(model, fits.cohort, 2000, seed=3)[4]
    weight = float(study[4].covariates["weight"][0])
    rng = np.random.default_rng(0)
    etas = rng.normal(size=(4000, 2)) * np.sqrt(OMEGA2)
    f = np.array([closed_form(eta, weight, np.array(TIMES)) for eta in etas])
    y = f * (1 + ERROR * rng.normal(size=f.shape))
    for j in range(len(TIMES)):
        assert stats.ks_2samp(drawn.f[:, j], f[:, j]).pvalue > 1e-3
        assert stats.ks_2samp(drawn.y[:, j], y[:, j]).pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(drawn.y, rowvar=False), np.corrcoef(y, rowvar=False), atol=0.05)


def test_simulation_does_not_depend_on_who_else_is_there(model: PopulationModel, study: Dataset) -> None:
    few = simulate(model, study.subjects[:3], replicates=2, seed=11)
    all_ = simulate(model, study, replicates=2, seed=11)
    np.testing.assert_allclose(few["DV"], all_[all_["ID"].isin(["S1", "S2", "S3"])]["DV"], rtol=1e-12)
    again = simulate(model, study.subjects[:3], replicates=2, seed=12)
    assert not np.allclose(few["DV"], again["DV"])
    with pytest.raises(ModelError, match="0 replicates"):
        simulate(model, study, replicates=0)


def test_npde_is_that_of_a_slow_loop(model: PopulationModel, fits: IndividualFits, study: Dataset) -> None:
    found = prediction_distribution_errors(model, fits.cohort, replicates=400, seed=5)
    i = 9
    y, trials = study[i].dv[1:], simulated(model, fits.cohort, 400, 5)[i].y
    lower = np.linalg.cholesky(np.cov(trials.T))
    whitened = np.array([np.linalg.inv(lower) @ (trial - trials.mean(axis=0)) for trial in trials])
    own = np.linalg.inv(lower) @ (y - trials.mean(axis=0))
    shares = [np.clip(np.mean(whitened[:, j] < own[j]), 1 / 800, 1 - 1 / 800) for j in range(len(y))]
    np.testing.assert_allclose(found.npde[4 * i : 4 * i + 4], stats.norm.ppf(shares), rtol=1e-9)
    plain = [np.clip(np.mean(trials[:, j] < y[j]), 1 / 800, 1 - 1 / 800) for j in range(len(y))]
    np.testing.assert_allclose(found.npd[4 * i : 4 * i + 4], stats.norm.ppf(plain), rtol=1e-9)


def test_npde_accepts_the_right_model_and_refuses_a_wrong_one(
    model: PopulationModel, fits: IndividualFits
) -> None:
    right = prediction_distribution_errors(model, fits.cohort, replicates=500, seed=1)
    tests = npde_tests(right.npde)
    assert tests["n"] == 160
    assert tests["p_together"] > 0.01
    population = model.population
    doubled = population._replace(typical=population.typical * np.array([2.0, 1.0]))
    wrong = model.with_population(doubled, "clearance doubled")
    assert (
        npde_tests(prediction_distribution_errors(wrong, fits.cohort, replicates=500).npde)["p_mean"] < 1e-6
    )


def test_npde_of_censored_values_stays_normal(model: PopulationModel, study: Dataset) -> None:
    limit = 1.5
    censored = [
        replace(
            s,
            dv=np.where(s.dv < limit, limit, s.dv),
            censored=np.where(s.dv < limit, -1, 0),
        )
        for s in study.subjects[1:]
    ]
    share = np.mean([c.censored[1:] != 0 for c in censored])
    assert share > 0.15
    found = prediction_distribution_errors(model, cohort(model, censored), replicates=500, seed=2)
    assert npde_tests(found.npde)["p_together"] > 0.01
    assert npde_tests(found.npd)["variance"] == pytest.approx(1, abs=0.25)


def test_percentiles_are_numpys_and_unknown_among_censored() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 23))
    for p in (0.05, 0.5, 0.95):
        np.testing.assert_allclose(_percentile(values, p), np.quantile(values, p, axis=1), rtol=1e-12)
    values[:, :5] = -np.inf
    assert np.isnan(_percentile(values, 0.05)).all()
    assert np.isfinite(_percentile(values, 0.5)).all()


@pytest.fixture(scope="module")
def check(model: PopulationModel, fits: IndividualFits) -> VPC:
    return visual_predictive_check(model, fits.cohort, replicates=300, seed=4, lloq=0.2)


def test_a_predictive_check_of_the_right_model(check: VPC, fits: IndividualFits) -> None:
    bins = check.bins
    assert list(bins["time"]) == list(TIMES)
    assert bins["n"].sum() == 160
    inside = (bins["observed_50"] >= bins["low_50"]) & (bins["observed_50"] <= bins["high_50"])
    assert inside.sum() >= 3
    measured = [s.dv[1] for s in fits.subjects]
    assert bins["observed_50"].iloc[0] == pytest.approx(np.median(measured))
    assert (bins["low_50"] < bins["high_50"]).all()


def test_a_predictive_check_finds_a_wrong_model(model: PopulationModel, fits: IndividualFits) -> None:
    population = model.population
    wrong = model.with_population(
        population._replace(typical=population.typical * np.array([1.0, 2.0])), "volume doubled"
    )
    bins = visual_predictive_check(wrong, fits.cohort, replicates=300, lloq=0.2).bins
    first = bins.iloc[0]
    assert first["observed_50"] > first["high_50"]


def test_values_below_the_limit_are_counted(model: PopulationModel, fits: IndividualFits) -> None:
    limit = 0.8
    found = visual_predictive_check(model, fits.cohort, replicates=300, lloq=limit)
    last = found.bins.iloc[-1]
    expected = np.mean([s.dv[-1] < limit for s in fits.subjects])
    assert last["below"] == pytest.approx(expected)
    assert last["below_low"] <= last["below"] <= last["below_high"]
    assert np.isnan(last["observed_05"])
    assert found.censored


def test_prediction_correction_removes_what_weight_explains(
    model: PopulationModel, fits: IndividualFits
) -> None:
    plain = visual_predictive_check(model, fits.cohort, replicates=100, lloq=0.0)
    corrected = visual_predictive_check(
        model, fits.cohort, replicates=100, lloq=0.0, prediction_corrected=True
    )
    pred = np.array([typical[1] for typical in fits.typical])
    dv = np.array([s.dv[2] for s in fits.subjects])
    expected = np.median(dv * np.median(pred) / pred)
    assert corrected.bins["observed_50"].iloc[1] == pytest.approx(expected, rel=1e-9)
    widths = [
        float((check.bins["median_95"] - check.bins["median_05"]).to_numpy()[-1])
        for check in (corrected, plain)
    ]
    assert widths[0] < widths[1]


def test_strata_bins_and_mistakes(model: PopulationModel, fits: IndividualFits) -> None:
    found = visual_predictive_check(model, fits.cohort, replicates=100, stratify="weight", bins=2, lloq=0.0)
    assert found.bins["stratum"].nunique() == 2
    assert found.bins["n"].sum() == 160
    edges = visual_predictive_check(model, fits.cohort, replicates=100, bins=[0, 5, 30], lloq=0.0)
    assert list(edges.bins["n"]) == [80, 80]
    with pytest.raises(ModelError, match="stratify='sex'"):
        visual_predictive_check(model, fits.cohort, stratify="sex")
    with pytest.raises(ModelError, match="output 2"):
        visual_predictive_check(model, fits.cohort, output=2)
