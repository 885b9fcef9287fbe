"""Phenobarbital in newborns: monitoring of sparse levels.

Model: Völler 2017, Eur J Pharm Sci 109S:S90, doi:10.1016/j.ejps.2017.05.026 (53 preterm and term newborns in
the Netherlands), as deposited at the DDMoRe repository, DDMODEL00000256. The recorded data set that `dosetwin
replay phenobarb` streams is Grasela & Donn's (1985, doi:10.1159/000457062): their published parameters, kept
here for comparison and for fits, were estimated on those very newborns and are not used by the twins. See
docs/models/phenobarbital.md.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import jax.numpy as jnp

from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.policies.regimen_monitoring import MonitoringPolicy
from dosetwin.twins.population_model import Combined, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.therapy import Bound, CovariateNeed, Drug, Quantity, Therapy

DAYS_PER_YEAR = 365.25
DAY_S = 86_400.0

VOLLER_2017 = PopulationModel(
    structure=one_compartment(),
    parameters=(
        Parameter(
            "CL",
            0.00909,
            "L/h",
            variability=LogNormal(0.0898),
            covariates=lambda c: (
                (1 + 0.0533 * (DAYS_PER_YEAR * c.age - 4.5)) * (1 + 0.369 * (c.birth_weight - 2.59))
            ),
        ),
        Parameter(
            "V1",
            2.38,
            "L",
            variability=LogNormal(0.0504),
            covariates=lambda c: 1 + 0.309 * (c.weight - 2.70),
        ),
    ),
    observed=Observed("phenobarbital", "mg/L", error=Combined(proportional=math.sqrt(0.0258))),
    source="Völler 2017, doi:10.1016/j.ejps.2017.05.026 (DDMODEL00000256)",
    advancing=MappingProxyType({"age": DAY_S}),
)

GRASELA_1985 = PopulationModel(
    structure=one_compartment(),
    parameters=(
        Parameter("apgar_effect", 0.13, "1"),
        Parameter("CL", 0.0047, "L/h", variability=LogNormal.from_cv(0.19), covariates=lambda c: c.weight),
        Parameter(
            "V1",
            0.96,
            "L",
            variability=LogNormal.from_cv(0.16),
            covariates=lambda c, p: c.weight * jnp.where(c.apgar < 5, 1 + p.apgar_effect, 1.0),
        ),
    ),
    observed=Observed("phenobarbital", "mg/L", error=Combined(proportional=math.sqrt(0.01324))),
    source="Grasela & Donn 1985, doi:10.1159/000457062 (estimated on the replayed newborns)",
    name="phenobarbital",
)
"""CL and V1 are per kg; V1 is larger by `apgar_effect` where the Apgar score is below 5."""
FITTED = GRASELA_1985
"""What `dosetwin fit --model phenobarbital` takes."""

COVARIATES = (
    CovariateNeed("age", "a", 0, 0.2),
    CovariateNeed("weight", "kg", 0.4, 8),
    CovariateNeed("birth_weight", "kg", 0.4, 6),
    CovariateNeed("apgar", "1", 0, 10, default=8.0),
)

POLICY = MonitoringPolicy(
    targets=MappingProxyType({"concentration_low": 15.0, "concentration_high": 40.0}),
    horizon_h=48.0,
    step_h=2.0,
)


def make_bank(capacity: int, seed: int) -> HistoryBank:
    """A bank of phenobarbital twins."""
    return HistoryBank(
        "phenobarbital",
        VOLLER_2017,
        POLICY,
        drug="phenobarbital",
        needs=COVARIATES,
        history_s=60 * DAY_S,
        capacity=capacity,
        seed=seed,
    )


therapy = Therapy(
    id="phenobarbital",
    title="Phenobarbital in newborns, drug-level monitoring",
    drugs=(Drug("phenobarbital", "mg", maximum_amount=400),),
    observed=(Quantity("phenobarbital", "mg/L", 0, 200),),
    covariates=COVARIATES,
    targets={
        "concentration_low": Bound(15, "mg/L", "usual neonatal range 15-40 mg/L"),
        "concentration_high": Bound(40, "mg/L", "usual neonatal range 15-40 mg/L"),
    },
    limits={},
    sensor="sparse",
    decision_interval_s=12 * 3600,
    sampling_interval_s=2 * DAY_S,
    stale_after_s=7 * DAY_S,
    command_expires_s=3600,
    horizon_s=48 * 3600,
    make_bank=make_bank,
    source=VOLLER_2017.source,
    guarded="phenobarbital",
    monitoring=True,
)
