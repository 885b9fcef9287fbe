"""Oral quinidine in adults with arrhythmias: monitoring of sparse levels.

Model: Fattinger 1991, Br J Clin Pharmacol 31:279, doi:10.1111/j.1365-2125.1991.tb05531.x, Table 1 (60 adults
in Basel, quinidine sulphate). The recorded data set that `dosetwin replay quinidine` streams is Verme 1992's;
no parameter here was estimated on it. Doses are milligrams of quinidine base. See docs/models/quinidine.md.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.models.compartments import two_compartment
from dosetwin.twins.policies.regimen_monitoring import MonitoringPolicy
from dosetwin.twins.population_model import Combined, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.therapy import Bound, CovariateNeed, Drug, Quantity, Therapy

FATTINGER_1991 = PopulationModel(
    structure=two_compartment(absorption="zero_order"),
    parameters=(
        Parameter(
            "CL",
            16.1,
            "L/h",
            variability=LogNormal.from_cv(0.402),
            covariates=lambda c: (
                0.0566 * c.creatinine_clearance + np.where(c.severe_heart_failure > 0.5, 6.8, 12.6)
            ),
            absolute=True,
        ),
        Parameter("V1", 161.0, "L", variability=LogNormal.from_cv(0.756)),
        Parameter("Q2", 12.6, "L/h"),
        Parameter("V2", 66.7, "L"),
        Parameter("D", 1.37, "h", variability=LogNormal.from_cv(0.494)),
    ),
    observed=Observed("quinidine", "mg/L", error=Combined(proportional=0.22)),
    source="Fattinger 1991, doi:10.1111/j.1365-2125.1991.tb05531.x, Table 1",
)

COVARIATES = (
    CovariateNeed("creatinine_clearance", "mL/min", 5, 200),
    CovariateNeed("severe_heart_failure", "1", 0, 1, default=0.0),
)

POLICY = MonitoringPolicy(
    targets=MappingProxyType({"concentration_low": 2.0, "concentration_high": 5.0}),
    horizon_h=24.0,
    step_h=1.0,
)


def make_bank(capacity: int, seed: int) -> HistoryBank:
    """A bank of quinidine twins."""
    return HistoryBank(
        "quinidine",
        FATTINGER_1991,
        POLICY,
        drug="quinidine",
        needs=COVARIATES,
        history_s=400 * 86_400.0,
        capacity=capacity,
        seed=seed,
    )


therapy = Therapy(
    id="quinidine",
    title="Oral quinidine, drug-level monitoring",
    drugs=(Drug("quinidine", "mg", maximum_amount=2000),),
    observed=(Quantity("quinidine", "mg/L", 0, 50),),
    covariates=COVARIATES,
    targets={
        "concentration_low": Bound(2, "mg/L", "usual therapeutic range 2-5 mg/L"),
        "concentration_high": Bound(5, "mg/L", "usual therapeutic range 2-5 mg/L"),
    },
    limits={},
    sensor="sparse",
    decision_interval_s=6 * 3600,
    sampling_interval_s=7 * 86_400,
    stale_after_s=30 * 86_400,
    command_expires_s=3600,
    horizon_s=24 * 3600,
    make_bank=make_bank,
    source=FATTINGER_1991.source,
    guarded="quinidine",
    monitoring=True,
)
