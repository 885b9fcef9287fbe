from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dosetwin.twins.data.subject import Dose, Observation, RecordError, subject
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.population_model import Additive, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.simulation.continuation import with_records, without_doses_from
from dosetwin.twins.simulation.prediction import predict

MODEL = PopulationModel(
    one_compartment(),
    (
        Parameter("CL", 5.0, "L/h", LogNormal(0.1), lambda c: c.renal, occasion=LogNormal(0.05)),
        Parameter("V1", 40.0, "L"),
    ),
    Observed("drug", "mg/L", Additive(1.0)),
    "made up for this test",
)
HISTORY = subject(
    "1",
    [Dose(0, 100, duration=1, interval=12, additional=5)],
    [Observation(2, 2.0), Observation(20, 1.0, occasion=2), Observation(40, 1.0, occasion=2)],
    {"renal": [(0, 1.0), (15, 0.6), (30, 0.9)]},
)


@pytest.mark.parametrize("interpolation", ["next_value_backward", "last_value_forward"])
def test_what_is_put_into_the_history_changes_nothing_there(interpolation: str) -> None:
    model = replace(MODEL, interpolation=interpolation, origin=None)  # type: ignore[arg-type] # a Literal
    longer = with_records(model, HISTORY, times=[1, 10, 16, 25, 35], changes=[3, 28])
    before, after = predict(model, [HISTORY, longer])
    known = np.isin(longer.time[longer.evid == 0], [2, 20, 40])
    np.testing.assert_allclose(after[known], before, rtol=1e-12)
    assert len(after) == 8


def test_records_after_the_last_one_take_what_is_planned() -> None:
    longer = with_records(
        MODEL, HISTORY, times=[50], doses=[Dose(48, 80)], occasion="new", covariates={"renal": 0.5}
    )
    assert longer.covariates["renal"][-2:].tolist() == [0.5, 0.5]
    assert longer.occasion[-2:].tolist() == [3, 3]
    assert longer.covariates["renal"][-3] == 0.9
    kept = with_records(MODEL, HISTORY, times=[50])
    assert (kept.covariates["renal"][-1], kept.occasion[-1]) == (0.9, 2)


def test_at_one_time_a_prediction_is_a_trough_and_a_dose_comes_last() -> None:
    longer = with_records(MODEL, HISTORY, times=[40], doses=[Dose(40, 80)])
    assert longer.evid[longer.time == 40].tolist() == [0, 0, 1]


def test_doses_from_a_time_on_are_taken_out_with_their_repeats() -> None:
    cut = without_doses_from(HISTORY, 36)
    assert cut.additional[HISTORY.evid == 1].tolist() == [2]  # 0, 12, 24; not 36
    assert without_doses_from(HISTORY, 36.5).additional[HISTORY.evid == 1].tolist() == [3]
    gone = without_doses_from(HISTORY, 0)
    assert not (gone.evid == 1).any()
    assert len(gone) == len(HISTORY)


def test_an_impossible_time_or_covariate_is_refused() -> None:
    with pytest.raises(RecordError, match="finite time"):
        with_records(MODEL, HISTORY, times=[np.nan])
    with pytest.raises(RecordError, match="creatinine"):
        with_records(MODEL, HISTORY, times=[50], covariates={"creatinine": 1.0})
