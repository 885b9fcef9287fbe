"""Residuals against the papers' formulas, by finite differences and SciPy's matrix root."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm

from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics.individual_estimates import individual_estimates
from dosetwin.twins.diagnostics.tables import eta_table, prediction_table, shrinkage
from dosetwin.twins.inference.individuals import IndividualFits

from .conftest import CL, ERROR, OMEGA2, TIMES, V1, closed_form


@pytest.fixture(scope="module")
def table(fits: IndividualFits) -> pd.DataFrame:
    return prediction_table(fits, replicates=0)


def slopes(eta: np.ndarray, weight: float) -> np.ndarray:
    h, t = 1e-6, np.array(TIMES)
    columns = [
        (closed_form(eta + step, weight, t) - closed_form(eta - step, weight, t)) / (2 * h)
        for step in (np.array([h, 0.0]), np.array([0.0, h]))
    ]
    return np.stack(columns, axis=1)


def whitened(residual: np.ndarray, G: np.ndarray, f: np.ndarray) -> np.ndarray:
    covariance = G @ np.diag(OMEGA2) @ G.T + np.diag((ERROR * f) ** 2)
    white: np.ndarray = np.linalg.solve(np.real(sqrtm(covariance)), residual)
    return white


@pytest.mark.parametrize("i", [1, 5, 17])
def test_weighted_residuals_are_those_of_the_papers(
    fits: IndividualFits, table: pd.DataFrame, study: Dataset, i: int
) -> None:
    s = study[i]
    rows = table[table["ID"] == s.id]
    weight, t, y = float(s.covariates["weight"][0]), np.array(TIMES), rows["DV"].to_numpy()
    eta = fits.etas.loc[s.id].to_numpy()
    f, f0 = closed_form(eta, weight, t), closed_form(np.zeros(2), weight, t)
    np.testing.assert_allclose(rows["PRED"], f0, rtol=1e-12)
    np.testing.assert_allclose(rows["IPRED"], f, rtol=1e-9)
    np.testing.assert_allclose(rows["RES"], y - f0, rtol=1e-9)
    np.testing.assert_allclose(rows["IWRES"], (y - f) / (ERROR * f), rtol=1e-6, atol=1e-9)
    G0, G = slopes(np.zeros(2), weight), slopes(eta, weight)
    np.testing.assert_allclose(rows["WRES"], whitened(y - f0, G0, f0), rtol=1e-5)
    np.testing.assert_allclose(rows["CWRES"], whitened(y - (f - G @ eta), G, f), rtol=1e-5)
    np.testing.assert_allclose(rows[["ETA1", "ETA2"]].to_numpy()[0], eta)


def test_censored_values_have_no_residual_but_a_mark(table: pd.DataFrame) -> None:
    row = table[table["ID"] == "S1"].iloc[2]
    assert row["CENS"] == 1
    assert row[["RES", "IRES", "IWRES", "WRES", "CWRES"]].isna().all()
    assert np.isfinite(row["PRED"])
    assert table["CWRES"].isna().sum() == 1


def test_individual_parameters_and_their_errors(fits: IndividualFits, study: Dataset) -> None:
    found = individual_estimates(fits)
    i, s = 3, study[3]
    weight = float(s.covariates["weight"][0])
    eta, se = fits.etas.loc[s.id], np.sqrt(np.diag(fits.covariance(i)))
    expected = np.array([CL * weight / 70 * np.exp(eta["CL"]), V1 * np.exp(eta["V1"])])
    np.testing.assert_allclose(found.values.loc[s.id], expected, rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors.loc[s.id], expected * se, rtol=1e-9)
    np.testing.assert_allclose(eta_table(fits).loc[s.id, ["SE_CL", "SE_V1"]].to_numpy(float), se, rtol=1e-9)


def test_shrinkage_is_one_minus_a_ratio_of_standard_deviations(
    fits: IndividualFits, table: pd.DataFrame
) -> None:
    found = shrinkage(fits).set_index("name")["shrinkage"]
    assert found["CL"] == pytest.approx(1 - fits.etas["CL"].std() / np.sqrt(OMEGA2[0]))
    assert found["testamycin"] == pytest.approx(1 - table["IWRES"].std())
    nothing = replace(fits, z=tuple(np.zeros_like(z) for z in fits.z))
    assert shrinkage(nothing).set_index("name").loc["CL", "shrinkage"] == 1.0
