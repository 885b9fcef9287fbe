"""Digital twins as a library: models, estimation, forecasts and doses, without a broker.

The names of `__all__` are the library; docs/library.md says what each is for. They are loaded when first
used, so that a part of the platform that needs a therapy alone does not load them all.
"""

# ruff: noqa: F401 - what is imported for the type checker is what `__getattr__` loads; a test holds them equal

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dosetwin.twins.data.frame import to_frame
    from dosetwin.twins.data.nonmem import read_nonmem
    from dosetwin.twins.data.subject import Dataset, Dose, Observation, RecordError, Subject, subject
    from dosetwin.twins.diagnostics.npde import prediction_distribution_errors
    from dosetwin.twins.diagnostics.prediction_errors import forecasts, performance, prediction_errors
    from dosetwin.twins.diagnostics.simulate import simulate
    from dosetwin.twins.diagnostics.tables import eta_table, prediction_table, shrinkage
    from dosetwin.twins.diagnostics.vpc import visual_predictive_check
    from dosetwin.twins.dosing.exposure import exposure
    from dosetwin.twins.dosing.optimisation import optimise_regimen
    from dosetwin.twins.dosing.products import Limits, Product, Regimen
    from dosetwin.twins.dosing.targets import (
        Target,
        attainment,
        auc,
        auc24,
        peak,
        time_above,
        time_within,
        trough,
    )
    from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
    from dosetwin.twins.inference.model_average import average_models
    from dosetwin.twins.inference.population_fit import PopulationFit, fit_population
    from dosetwin.twins.inference.posterior import Posterior, sample_posterior
    from dosetwin.twins.inference.robust import outliers, robust
    from dosetwin.twins.models.absorption_chain import erlang_absorption, mixed_absorption
    from dosetwin.twins.models.compartments import one_compartment, three_compartment, two_compartment
    from dosetwin.twins.models.direct_effect import direct_effect, emax
    from dosetwin.twins.models.effect_compartment import effect_compartment
    from dosetwin.twins.models.errors import ModelError
    from dosetwin.twins.models.friberg import myelosuppression
    from dosetwin.twins.models.input_functions import SavicTransit, Weibull
    from dosetwin.twins.models.kinetic_pharmacodynamic import kinetic_pharmacodynamic
    from dosetwin.twins.models.linear_system import LinearSystem
    from dosetwin.twins.models.metabolite import parent_metabolite
    from dosetwin.twins.models.michaelis_menten import michaelis_menten
    from dosetwin.twins.models.numerical_error import numerical_error
    from dosetwin.twins.models.ode import ODE
    from dosetwin.twins.models.ode_solvers import Adaptive, FixedStep
    from dosetwin.twins.models.structure import Input
    from dosetwin.twins.models.target_mediated import target_mediated, target_mediated_qss
    from dosetwin.twins.models.turnover import indirect_response
    from dosetwin.twins.population_model import (
        Additive,
        BoxCox,
        Combined,
        Count,
        LogError,
        LogitNormal,
        LogNormal,
        Normal,
        Observed,
        Ordinal,
        Parameter,
        PopulationModel,
        Power,
        Proportional,
        StudentT,
    )
    from dosetwin.twins.simulation.prediction import predict

_HOMES = {
    "data.frame": "to_frame",
    "data.nonmem": "read_nonmem",
    "data.subject": "Dataset Dose Observation RecordError Subject subject",
    "diagnostics.npde": "prediction_distribution_errors",
    "diagnostics.prediction_errors": "forecasts performance prediction_errors",
    "diagnostics.simulate": "simulate",
    "diagnostics.tables": "eta_table prediction_table shrinkage",
    "diagnostics.vpc": "visual_predictive_check",
    "dosing.exposure": "exposure",
    "dosing.optimisation": "optimise_regimen",
    "dosing.products": "Limits Product Regimen",
    "dosing.targets": "Target attainment auc auc24 peak time_above time_within trough",
    "inference.individuals": "IndividualFits estimate_individuals",
    "inference.model_average": "average_models",
    "inference.population_fit": "PopulationFit fit_population",
    "inference.posterior": "Posterior sample_posterior",
    "inference.robust": "outliers robust",
    "models.absorption_chain": "erlang_absorption mixed_absorption",
    "models.compartments": "one_compartment three_compartment two_compartment",
    "models.direct_effect": "direct_effect emax",
    "models.effect_compartment": "effect_compartment",
    "models.errors": "ModelError",
    "models.friberg": "myelosuppression",
    "models.input_functions": "SavicTransit Weibull",
    "models.kinetic_pharmacodynamic": "kinetic_pharmacodynamic",
    "models.linear_system": "LinearSystem",
    "models.metabolite": "parent_metabolite",
    "models.michaelis_menten": "michaelis_menten",
    "models.numerical_error": "numerical_error",
    "models.ode": "ODE",
    "models.ode_solvers": "Adaptive FixedStep",
    "models.structure": "Input",
    "models.target_mediated": "target_mediated target_mediated_qss",
    "models.turnover": "indirect_response",
    "population_model": "Additive BoxCox Combined Count LogError LogNormal LogitNormal Normal Observed "
    "Ordinal Parameter PopulationModel Power Proportional StudentT",
    "simulation.prediction": "predict",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
