"""Digital twins as a library: models, estimation, forecasts and doses, without a broker.

The names of `__all__` are the library; docs/library.md says what each is for. They are loaded when first
used, so that a part of the platform that needs a therapy alone does not load them all; what is imported for
the type checker is what `__getattr__` loads, and a test holds the two equal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dosetwin.twins.closed_loop import ClosedLoop as ClosedLoop
    from dosetwin.twins.data.frame import to_frame as to_frame
    from dosetwin.twins.data.nonmem import read_nonmem as read_nonmem
    from dosetwin.twins.data.subject import Dataset as Dataset
    from dosetwin.twins.data.subject import Dose as Dose
    from dosetwin.twins.data.subject import Observation as Observation
    from dosetwin.twins.data.subject import RecordError as RecordError
    from dosetwin.twins.data.subject import Subject as Subject
    from dosetwin.twins.data.subject import subject as subject
    from dosetwin.twins.decision import Decision as Decision
    from dosetwin.twins.diagnostics.npde import (
        prediction_distribution_errors as prediction_distribution_errors,
    )
    from dosetwin.twins.diagnostics.prediction_errors import forecasts as forecasts
    from dosetwin.twins.diagnostics.prediction_errors import performance as performance
    from dosetwin.twins.diagnostics.prediction_errors import prediction_errors as prediction_errors
    from dosetwin.twins.diagnostics.simulate import simulate as simulate
    from dosetwin.twins.diagnostics.tables import eta_table as eta_table
    from dosetwin.twins.diagnostics.tables import prediction_table as prediction_table
    from dosetwin.twins.diagnostics.tables import shrinkage as shrinkage
    from dosetwin.twins.diagnostics.vpc import visual_predictive_check as visual_predictive_check
    from dosetwin.twins.dosing.exposure import exposure as exposure
    from dosetwin.twins.dosing.optimisation import optimise_regimen as optimise_regimen
    from dosetwin.twins.dosing.products import Limits as Limits
    from dosetwin.twins.dosing.products import Product as Product
    from dosetwin.twins.dosing.products import Regimen as Regimen
    from dosetwin.twins.dosing.targets import Target as Target
    from dosetwin.twins.dosing.targets import attainment as attainment
    from dosetwin.twins.dosing.targets import auc as auc
    from dosetwin.twins.dosing.targets import auc24 as auc24
    from dosetwin.twins.dosing.targets import peak as peak
    from dosetwin.twins.dosing.targets import time_above as time_above
    from dosetwin.twins.dosing.targets import time_within as time_within
    from dosetwin.twins.dosing.targets import trough as trough
    from dosetwin.twins.inference.individuals import IndividualFits as IndividualFits
    from dosetwin.twins.inference.individuals import estimate_individuals as estimate_individuals
    from dosetwin.twins.inference.model_average import average_models as average_models
    from dosetwin.twins.inference.population_fit import PopulationFit as PopulationFit
    from dosetwin.twins.inference.population_fit import fit_population as fit_population
    from dosetwin.twins.inference.posterior import Posterior as Posterior
    from dosetwin.twins.inference.posterior import sample_posterior as sample_posterior
    from dosetwin.twins.inference.robust import outliers as outliers
    from dosetwin.twins.inference.robust import robust as robust
    from dosetwin.twins.models.absorption_chain import erlang_absorption as erlang_absorption
    from dosetwin.twins.models.absorption_chain import mixed_absorption as mixed_absorption
    from dosetwin.twins.models.compartments import one_compartment as one_compartment
    from dosetwin.twins.models.compartments import three_compartment as three_compartment
    from dosetwin.twins.models.compartments import two_compartment as two_compartment
    from dosetwin.twins.models.direct_effect import direct_effect as direct_effect
    from dosetwin.twins.models.direct_effect import emax as emax
    from dosetwin.twins.models.effect_compartment import effect_compartment as effect_compartment
    from dosetwin.twins.models.errors import ModelError as ModelError
    from dosetwin.twins.models.friberg import myelosuppression as myelosuppression
    from dosetwin.twins.models.input_functions import SavicTransit as SavicTransit
    from dosetwin.twins.models.input_functions import Weibull as Weibull
    from dosetwin.twins.models.kinetic_pharmacodynamic import (
        kinetic_pharmacodynamic as kinetic_pharmacodynamic,
    )
    from dosetwin.twins.models.linear_system import LinearSystem as LinearSystem
    from dosetwin.twins.models.metabolite import parent_metabolite as parent_metabolite
    from dosetwin.twins.models.michaelis_menten import michaelis_menten as michaelis_menten
    from dosetwin.twins.models.numerical_error import numerical_error as numerical_error
    from dosetwin.twins.models.ode import ODE as ODE
    from dosetwin.twins.models.ode_solvers import Adaptive as Adaptive
    from dosetwin.twins.models.ode_solvers import FixedStep as FixedStep
    from dosetwin.twins.models.structure import Input as Input
    from dosetwin.twins.models.target_mediated import target_mediated as target_mediated
    from dosetwin.twins.models.target_mediated import target_mediated_qss as target_mediated_qss
    from dosetwin.twins.models.turnover import indirect_response as indirect_response
    from dosetwin.twins.patient import Patient as Patient
    from dosetwin.twins.population_model import Additive as Additive
    from dosetwin.twins.population_model import BoxCox as BoxCox
    from dosetwin.twins.population_model import Combined as Combined
    from dosetwin.twins.population_model import Count as Count
    from dosetwin.twins.population_model import LogError as LogError
    from dosetwin.twins.population_model import LogitNormal as LogitNormal
    from dosetwin.twins.population_model import LogNormal as LogNormal
    from dosetwin.twins.population_model import Normal as Normal
    from dosetwin.twins.population_model import Observed as Observed
    from dosetwin.twins.population_model import Ordinal as Ordinal
    from dosetwin.twins.population_model import Parameter as Parameter
    from dosetwin.twins.population_model import PopulationModel as PopulationModel
    from dosetwin.twins.population_model import Power as Power
    from dosetwin.twins.population_model import Proportional as Proportional
    from dosetwin.twins.population_model import StudentT as StudentT
    from dosetwin.twins.simulation.prediction import predict as predict

_HOMES = {
    "closed_loop": "ClosedLoop",
    "decision": "Decision",
    "patient": "Patient",
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
