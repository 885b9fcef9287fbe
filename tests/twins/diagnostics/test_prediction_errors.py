from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics.prediction_errors import forecasts, performance, prediction_errors
from dosetwin.twins.population_model import PopulationModel

from .conftest import ERROR, OMEGA2, TIMES, closed_form


def test_figures_by_hand() -> None:
    found = prediction_errors(
        [11.0, 8.0, 12.0, np.nan, 5.0], [10.0, 10.0, 10.0, 10.0, 0.0], [9.0] * 5, [11.5] * 5
    )
    assert found["n"] == 3
    assert found["MDPE"] == pytest.approx(10)
    assert found["MDAPE"] == pytest.approx(20)
    assert found["ME"] == pytest.approx(1 / 3)
    assert found["RMSE"] == pytest.approx(np.sqrt(9 / 3))
    assert found["rRMSE"] == pytest.approx(np.sqrt((100 + 400 + 400) / 3))
    assert found["coverage"] == pytest.approx(1 / 3)
    assert np.isnan(prediction_errors([], [])["MDPE"])


def test_a_forecast_uses_only_what_came_before(model: PopulationModel, study: Dataset) -> None:
    table = forecasts(model, study.subjects[:16], replicates=200, seed=1)
    assert len(table) == 64
    first = table[table["TIME"] == TIMES[0]]
    np.testing.assert_allclose(first["AHEAD"], first["PRIOR"], rtol=1e-12)
    s = study[6]
    weight, t, y = float(s.covariates["weight"][0]), np.array(TIMES), s.dv[1:3]

    def objective(eta: np.ndarray) -> float:
        f = closed_form(eta, weight, t[:2])
        sd = ERROR * f
        return float(np.sum(((y - f) / sd) ** 2 + 2 * np.log(sd)) + np.sum(eta**2 / np.array(OMEGA2)))

    mode = minimize(objective, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    row = table[(table["ID"] == s.id) & (table["TIME"] == TIMES[2])].iloc[0]
    assert row["AHEAD"] == pytest.approx(closed_form(mode, weight, t)[2], rel=1e-6)
    assert row["AHEAD_LOW"] < row["AHEAD"] < row["AHEAD_HIGH"]
    found = performance(table).T.to_dict()
    assert found["one step ahead"]["MDAPE"] < found["a priori"]["MDAPE"]
    assert 0.75 < found["one step ahead"]["coverage"] < 0.99
    assert 0.75 < found["a priori"]["coverage"] < 0.99
    assert found["a priori"]["n"] == 63
