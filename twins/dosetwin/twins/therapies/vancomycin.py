"""Vancomycin in hospitalised adults: two compartments, AUC24-guided regimens.

Model: Goti 2018, Ther Drug Monit 40:212, doi:10.1097/FTD.0000000000000490, Table 2 (1,812 adults). Two
transcriptions of the paper disagree on the peripheral volume; its methods say that "volume parameters were
normalized to a 70-kg individual", so weight scales it too. See docs/models/vancomycin.md.
Target: Rybak 2020, Am J Health Syst Pharm 77:835, doi:10.1093/ajhp/zxaa036 (AUC24/MIC 400-600, MIC 1 mg/L).
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from dosetwin.twins.estimators.history_bank import HistoryBank, Stretches
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.models.compartments import two_compartment
from dosetwin.twins.models.covariate_equations import Values, cockcroft_gault_mL_min
from dosetwin.twins.models.creatinine_kinetics import steady_series
from dosetwin.twins.policies.regimen import RegimenPolicy
from dosetwin.twins.policies.regimen_aims import Aim
from dosetwin.twins.policies.regimen_plans import Products
from dosetwin.twins.population_model import (
    Combined,
    Covariates,
    LogNormal,
    Observed,
    Parameter,
    PopulationModel,
)
from dosetwin.twins.therapy import AlertRule, Bound, Ceiling, CovariateNeed, Drug, Quantity, Therapy

DAY_S = 86_400.0
RATE_MG_H = 1000.0
MAXIMUM_AUC24 = 700.0
MAXIMUM_24H_MG = 6000.0
GUIDELINE = "Rybak 2020, doi:10.1093/ajhp/zxaa036"
KDIGO = "KDIGO 2012, acute kidney injury, doi:10.1038/kisup.2012.1"


def creatinine_clearance_mL_min(c: Covariates) -> Values:
    """Cockcroft-Gault as Goti 2018 prepared it: creatinine >= 1 mg/dL above 60 years, result <= 150."""
    creatinine = np.where(c.age > 60, np.maximum(c.creatinine, 1.0), c.creatinine)
    clearance: Values = cockcroft_gault_mL_min(c.age, c.weight, c.sex, creatinine)
    return np.minimum(clearance, 150.0)


GOTI_2018 = PopulationModel(
    structure=two_compartment(),
    parameters=(
        Parameter(
            "CL",
            4.5,
            "L/h",
            variability=LogNormal.from_cv(0.398),
            covariates=lambda c: (creatinine_clearance_mL_min(c) / 120) ** 0.8 * 0.7**c.haemodialysis,
        ),
        Parameter(
            "V1",
            58.4,
            "L",
            variability=LogNormal.from_cv(0.816),
            covariates=lambda c: c.weight / 70 * 0.5**c.haemodialysis,
        ),
        Parameter("Q2", 6.5, "L/h"),
        Parameter("V2", 38.4, "L", variability=LogNormal.from_cv(0.571), covariates=lambda c: c.weight / 70),
    ),
    observed=Observed("vancomycin", "mg/L", error=Combined(additive=3.4, proportional=0.227)),
    source="Goti 2018, doi:10.1097/FTD.0000000000000490, Table 2",
)

DRIFT_SD = 0.2
"""Of log clearance around the patient's own mean: our assumption, for kidneys that recover or fail."""
DRIFT = Drift(time_h=96.0)
"""Four days, steps of a day: our assumption, the length of an acute change of kidney function."""
ADDITIVE_MG_L, PROPORTIONAL = 1.1, 0.12
"""Of a level with a known time (docs/models/vancomycin.md); Goti's 3.4 mg/L, 22.7 % hold the drift, too."""
CENTRAL_L, EXCHANGE_L_H, EXCHANGE_SD = 43.0, 4.3, 0.55
"""V1 of 70 kg and Q2, and Q2's spread (SD of its logarithm): means of published models' logarithms.

Goti's levels are those of routine care, most of them troughs, which say little of the first hours. V1 in L/kg
and Q2 in L/h: 0.834, 6.5 (Goti 2018); 0.414, 7.48 (Llopis-Salvia 2006,
doi:10.1111/j.1365-2710.2006.00762.x); 0.675, 2.28 (Thomson 2009, doi:10.1093/jac/dkp085); 0.613, 3.22 (Colin
2019, doi:10.1007/s40262-018-0727-5).
"""


def _at_the_bedside(p: Parameter) -> Parameter:
    if p.name == "CL":
        return replace(p, occasion=LogNormal(DRIFT_SD**2))
    if p.name == "V1":
        return replace(p, typical=CENTRAL_L)
    if p.name == "Q2":
        return replace(p, typical=EXCHANGE_L_H, variability=LogNormal(EXCHANGE_SD**2))
    return p


BEDSIDE = replace(
    GOTI_2018,
    parameters=tuple(_at_the_bedside(p) for p in GOTI_2018.parameters),
    observed=Observed("vancomycin", "mg/L", error=Combined(ADDITIVE_MG_L, PROPORTIONAL)),
    source=f"{GOTI_2018.source}; V1 and Q2 of four models, drift and residual error: our assumption",
    origin=None,
)

COVARIATES = (
    CovariateNeed("age", "a", 16, 110),
    CovariateNeed("weight", "kg", 25, 300),
    CovariateNeed("sex", "1", 0, 1),
    CovariateNeed("creatinine", "mg/dL", 0.1, 20),
    CovariateNeed("haemodialysis", "1", 0, 1, default=0.0),
    CovariateNeed("height", "cm", 100, 230, default=170.0),
)


def settled_creatinine(stretches: Stretches) -> Stretches:
    """The stretches with the creatinine that would be steady at the present clearance: it lags by a day.

    Production as Cockcroft and Gault imply it; not under dialysis, which clears by the hour.
    """
    at = [start for start, _ in stretches]
    production = [
        (140 - c["age"]) * c["weight"] * (1.0 if c["sex"] > 0.5 else 0.85) / 72 for _, c in stretches
    ]
    new = [
        k
        for k in range(len(stretches))
        if k == 0 or stretches[k][1]["creatinine"] != stretches[k - 1][1]["creatinine"]
    ]
    measured = [stretches[k][1]["creatinine"] for k in new]
    steady = steady_series(
        [at[k] for k in new], measured, [production[k] for k in new], [stretches[k][1]["weight"] for k in new]
    )
    found: Stretches = []
    for k, (start, c) in enumerate(stretches):
        value = steady[int(np.searchsorted(new, k, side="right")) - 1]
        found.append((start, c if c["haemodialysis"] > 0.5 else c | {"creatinine": value}))
    return found


PRODUCTS = Products(
    drug="vancomycin",
    unit="mg",
    route="intravenous",
    amounts=tuple(float(amount) for amount in range(250, 2001, 250)),
    extras=tuple(float(amount) for amount in range(500, 3001, 250)),
    intervals_h=(6.0, 8.0, 12.0, 24.0, 36.0, 48.0),
    upkeep=(0.03, 0.01, 0.0, 0.015, 0.03, 0.03),
    rate_per_h=RATE_MG_H,
    shortest_h=1.0,
    spacing_h=6.0,
)

POLICY = RegimenPolicy(
    products=PRODUCTS,
    aims=(Aim("auc24", "mg.h/L", low="auc24_low", high="auc24_high", harmful="maximum_auc24"),),
    targets=MappingProxyType(
        {
            "auc24_low": 400.0,
            "auc24_high": 600.0,
            "maximum_auc24": MAXIMUM_AUC24,
            "maximum_24h": MAXIMUM_24H_MG,
            "maximum_amount": 3000.0,
        }
    ),
    extra_per_kg=35.0,
)


def make_bank(capacity: int, seed: int) -> HistoryBank:
    """A bank of vancomycin twins."""
    return HistoryBank(
        "vancomycin",
        BEDSIDE,
        POLICY,
        drug="vancomycin",
        needs=COVARIATES,
        history_s=60 * DAY_S,
        capacity=capacity,
        seed=seed,
        drift=DRIFT,
        settled=settled_creatinine,
    )


_OF_DIALYSIS = "our assumption: patients on dialysis, whose creatinine says little of clearance"
CLINICIAN = MappingProxyType(
    {
        "contraindicated_above@creatinine": Ceiling(Bound(20, "mg/dL", _OF_DIALYSIS), 7 * DAY_S),
        "minimum_interval": Ceiling(
            Bound(3600, "s", "our assumption: an extra dose that a clinician asks for"), DAY_S
        ),
    }
)
"""How far a clinician may move limits for a time; nobody moves those on amounts, rate and exposure."""

therapy = Therapy(
    id="vancomycin",
    title="Vancomycin, AUC-guided, in hospitalised adults",
    drugs=(Drug("vancomycin", "mg", maximum_amount=5000),),
    observed=(Quantity("vancomycin", "mg/L", 0, 300),),
    covariates=COVARIATES,
    targets={
        "auc24_low": Bound(400, "mg.h/L", GUIDELINE),
        "auc24_high": Bound(600, "mg.h/L", GUIDELINE),
    },
    limits={
        "maximum_amount": Bound(3000, "mg", f"{GUIDELINE}: a loading dose is at most 3,000 mg"),
        "maximum_24h": Bound(
            MAXIMUM_24H_MG, "mg", f"{GUIDELINE}: a loading dose of 3,000 mg, and maintenance of as much"
        ),
        "maximum_rate": Bound(1000, "mg/h", f"{GUIDELINE}: infusion reactions above 10-15 mg/min"),
        "minimum_interval": Bound(
            2 * 3600, "s", "our choice: so close, it is one order sent twice; a regimen keeps its doses apart"
        ),
        "maximum_auc24": Bound(MAXIMUM_AUC24, "mg.h/L", f"{GUIDELINE}: kidney injury rises above 650-700"),
        "contraindicated_above@creatinine": Bound(
            10, "mg/dL", f"{KDIGO}: its last stage begins at 4; a person decides from 10 on (our choice)"
        ),
    },
    sensor="sparse",
    decision_interval_s=12 * 3600,
    sampling_interval_s=24 * 3600,
    stale_after_s=72 * 3600,
    command_expires_s=3600,
    horizon_s=48 * 3600,
    make_bank=make_bank,
    source=GOTI_2018.source,
    guarded="vancomycin",
    ceilings=MappingProxyType({"clinician": CLINICIAN}),
    alerts=(
        AlertRule(
            "low_attainment",
            "medium",
            "attainment",
            begins=0.3,
            ends=0.4,
            above=False,
            message="the best regimen meets the AUC24 target with a chance of only {value:.0%}",
        ),
        AlertRule(
            "high_exposure",
            "medium",
            "above_maximum",
            begins=0.3,
            ends=0.2,
            above=True,
            message="AUC24 above the kidney limit with a chance of {value:.0%}",
        ),
    ),
)
