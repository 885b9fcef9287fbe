"""One model and one simulated study for all tests here, so that it is compiled once.

The data come from the closed form in NumPy, not from the engine: C(t) = D/V exp(-CL/V t).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dosetwin.twins.data.subject import Dataset, Dose, Observation, subject
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.population_model import LogNormal, Observed, Parameter, PopulationModel, Proportional

Values = npt.NDArray[np.float64]
TIMES = (1.0, 4.0, 10.0, 24.0)
DOSE_MG = 100.0
CL, V1, OMEGA2, ERROR = 2.0, 20.0, (0.09, 0.04), 0.15


def closed_form(eta: Values, weight: float, t: Values) -> Values:
    clearance, volume = CL * weight / 70 * np.exp(eta[0]), V1 * np.exp(eta[1])
    concentration: Values = DOSE_MG / volume * np.exp(-clearance / volume * t)
    return concentration


@pytest.fixture(scope="session")
def model() -> PopulationModel:
    return PopulationModel(
        structure=one_compartment(),
        parameters=(
            Parameter("CL", CL, "L/h", variability=LogNormal(OMEGA2[0]), covariates=lambda c: c.weight / 70),
            Parameter("V1", V1, "L", variability=LogNormal(OMEGA2[1])),
        ),
        observed=Observed("testamycin", "mg/L", error=Proportional(ERROR)),
        source="made up for these tests",
    )


@pytest.fixture(scope="session")
def study() -> Dataset:
    rng = np.random.default_rng(7)
    subjects = []
    for k in range(40):
        weight = float(rng.uniform(50, 100))
        eta = rng.normal(size=2) * np.sqrt(OMEGA2)
        y = closed_form(eta, weight, np.array(TIMES)) * (1 + ERROR * rng.normal(size=len(TIMES)))
        levels = [Observation(t, float(v)) for t, v in zip(TIMES, y, strict=True)]
        if k == 0:
            levels[2] = Observation(TIMES[2], float(y[2]) * 1.5, censored=-1)
        subjects.append(subject(f"S{k + 1}", [Dose(0.0, DOSE_MG)], levels, {"weight": weight}))
    return Dataset(tuple(subjects), source="study.csv", notes=("a note of the reader",))


@pytest.fixture(scope="session")
def fits(model: PopulationModel, study: Dataset) -> IndividualFits:
    return estimate_individuals(model, study)
