"""Remifentanil infusions in people from birth to old age: monitoring of arterial concentrations.

Models: Eleveld 2017, Anesthesiology 126:1005, doi:10.1097/ALN.0000000000001634 (the one used: 131 people, a
published comparison found it more accurate than Minto's), and Minto 1997, Anesthesiology 86:10,
doi:10.1097/00000542-199701000-00004. The 65 volunteers of the recorded data set that `dosetwin replay
remifentanil` streams are Minto's, and are among Eleveld's 131. See docs/models/remifentanil.md.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.models.compartments import three_compartment
from dosetwin.twins.models.covariate_equations import Values, fat_free_mass_al_sallami_kg
from dosetwin.twins.policies.regimen_monitoring import MonitoringPolicy
from dosetwin.twins.population_model import (
    Covariates,
    LogError,
    LogNormal,
    Observed,
    Parameter,
    PopulationModel,
)
from dosetwin.twins.therapy import Bound, CovariateNeed, Drug, Quantity, Therapy

MINUTES = 60.0
"""The papers give flows in L/min; the twins work in L/h."""
REFERENCE_FAT_FREE_KG = float(
    fat_free_mass_al_sallami_kg(np.array(35.0), np.array(70.0), np.array(170.0), np.array(1.0))
)


def _size(c: Covariates) -> Values:
    size: Values = fat_free_mass_al_sallami_kg(c.age, c.weight, c.height, c.sex) / REFERENCE_FAT_FREE_KG
    return size


def _aging(c: Covariates, slope: float) -> Values:
    aging: Values = np.exp(slope * (c.age - 35))
    return aging


def _sigmoid(x: Values, half: float, steepness: float) -> Values:
    risen: Values = x**steepness / (x**steepness + half**steepness)
    return risen


def _sex(c: Covariates) -> Values:
    women = 1 + 0.470 * _sigmoid(c.age, 12, 6) * (1 - _sigmoid(c.age, 45, 6))
    return np.where(c.sex > 0.5, 1.0, women)


def _maturation(c: Covariates) -> Values:
    return _sigmoid(c.weight, 2.88, 2) / _sigmoid(np.array(70.0), 2.88, 2)


def _v2(c: Covariates) -> Values:
    return _size(c) * _aging(c, -0.00327) * _sex(c)


def _v3(c: Covariates) -> Values:
    volume: Values = _size(c) * _aging(c, -0.0315) * np.exp(-0.0260 * (c.weight - 70))
    return volume


ERROR = LogError(0.111)

ELEVELD_2017 = PopulationModel(
    structure=three_compartment(),
    parameters=(
        Parameter(
            "CL",
            2.58 * MINUTES,
            "L/h",
            variability=LogNormal(0.0197),
            covariates=lambda c: _size(c) ** 0.75 * _maturation(c) * _sex(c) * _aging(c, -0.00327),
        ),
        Parameter(
            "V1",
            5.81,
            "L",
            variability=LogNormal(0.104),
            covariates=lambda c: _size(c) * _aging(c, -0.00554),
        ),
        Parameter(
            "Q2",
            1.72 * MINUTES,
            "L/h",
            variability=LogNormal(0.0547),
            covariates=lambda c: _v2(c) ** 0.75 * _aging(c, -0.00554) * _sex(c),
        ),
        Parameter("V2", 8.82, "L", variability=LogNormal(0.115), covariates=_v2),
        Parameter(
            "Q3",
            0.124 * MINUTES,
            "L/h",
            variability=LogNormal(0.285),
            covariates=lambda c: _v3(c) ** 0.75 * _aging(c, -0.00554),
        ),
        Parameter("V3", 5.03, "L", variability=LogNormal(0.810), covariates=_v3),
    ),
    observed=Observed("remifentanil", "ng/mL", error=ERROR),
    source="Eleveld 2017, doi:10.1097/ALN.0000000000001634",
)

MINTO_1997 = PopulationModel(
    structure=three_compartment(),
    parameters=(
        Parameter(
            "CL",
            2.6 * MINUTES,
            "L/h",
            variability=LogNormal(0.14**2),
            covariates=lambda c: MINUTES * (2.6 - 0.0162 * (c.age - 40) + 0.0191 * (c.lean_body_mass - 55)),
            absolute=True,
        ),
        Parameter(
            "V1",
            5.1,
            "L",
            variability=LogNormal(0.26**2),
            covariates=lambda c: 5.1 - 0.0201 * (c.age - 40) + 0.072 * (c.lean_body_mass - 55),
            absolute=True,
        ),
        Parameter(
            "Q2",
            2.05 * MINUTES,
            "L/h",
            variability=LogNormal(0.36**2),
            covariates=lambda c: MINUTES * (2.05 - 0.0301 * (c.age - 40)),
            absolute=True,
        ),
        Parameter(
            "V2",
            9.82,
            "L",
            variability=LogNormal(0.29**2),
            covariates=lambda c: 9.82 - 0.0811 * (c.age - 40) + 0.108 * (c.lean_body_mass - 55),
            absolute=True,
        ),
        Parameter(
            "Q3",
            0.076 * MINUTES,
            "L/h",
            variability=LogNormal(0.41**2),
            covariates=lambda c: MINUTES * (0.076 - 0.00113 * (c.age - 40)),
            absolute=True,
        ),
        Parameter("V3", 5.42, "L", variability=LogNormal(0.66**2)),
    ),
    observed=Observed("remifentanil", "ng/mL", error=ERROR),
    source="Minto 1997, doi:10.1097/00000542-199701000-00004",
)

COVARIATES = (
    CovariateNeed("age", "a", 0.01, 100),
    CovariateNeed("weight", "kg", 2, 200),
    CovariateNeed("height", "cm", 40, 220),
    CovariateNeed("sex", "1", 0, 1),
)

POLICY = MonitoringPolicy(
    targets=MappingProxyType({"concentration_low": 2.0, "concentration_high": 8.0}),
    horizon_h=1.0,
    step_h=1 / 30,
)


def make_bank(capacity: int, seed: int) -> HistoryBank:
    """A bank of remifentanil twins."""
    return HistoryBank(
        "remifentanil",
        ELEVELD_2017,
        POLICY,
        drug="remifentanil",
        needs=COVARIATES,
        history_s=2 * 86_400.0,
        capacity=capacity,
        seed=seed,
    )


therapy = Therapy(
    id="remifentanil",
    title="Remifentanil infusion, arterial concentrations",
    drugs=(Drug("remifentanil", "ug", maximum_amount=100_000),),
    observed=(Quantity("remifentanil", "ng/mL", 0, 1000),),
    covariates=COVARIATES,
    targets={
        "concentration_low": Bound(2, "ng/mL", "our choice: usual range under anaesthesia"),
        "concentration_high": Bound(8, "ng/mL", "our choice: usual range under anaesthesia"),
    },
    limits={},
    sensor="sparse",
    decision_interval_s=300,
    sampling_interval_s=600,
    stale_after_s=1800,
    command_expires_s=60,
    horizon_s=3600,
    make_bank=make_bank,
    source=ELEVELD_2017.source,
    guarded="remifentanil",
    monitoring=True,
)
