"""Type-1 diabetes: rapid-acting insulin by pump, a continuous glucose sensor every 5 min.

The model is Hovorka 2004; the estimator an ensemble filter; see docs/models/t1d-insulin.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dosetwin.twins.bank import Bank
from dosetwin.twins.policies.insulin_targets import RISK_BELOW_54, RISK_BELOW_70
from dosetwin.twins.therapy import AlertRule, Bound, Ceiling, CovariateNeed, Drug, Quantity, Therapy

_LOOP = "Loop / LoopAlgorithm"
_OREF0 = "openaps/oref0 0.7.1"
_AAPS = "AndroidAPS hard limits, adult"


def make_bank(capacity: int, seed: int) -> Bank:
    """An empty bank for about `capacity` patients; chance under `seed`."""
    from dosetwin.twins.estimators.ensemble_bank import EnsembleBank

    return EnsembleBank(capacity, seed)


def basal_rates(covariates: Mapping[str, float]) -> dict[str, float]:
    """The pump's own programme, U/h: the basal rate where it is known, else its share of the daily dose."""
    from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h

    return {"insulin": covariates.get("basal_rate") or basal_U_per_h(covariates["total_daily_dose"])}


_CLINICIAN = MappingProxyType(
    {
        "maximum_bolus": Ceiling(Bound(25.0, "U", "AndroidAPS hard limits, resistant adult"), 86_400.0),
        "maximum_on_board": Ceiling(Bound(30.0, "U", "AndroidAPS hard limits, resistant adult"), 86_400.0),
        "suspend_below": Ceiling(
            Bound(67.0, "mg/dL", f"{_LOOP}: suspend threshold 67-110"),
            43_200.0,
            Bound(110.0, "mg/dL", f"{_LOOP}: suspend threshold 67-110"),
        ),
    }
)
"""How far a clinician may move limits for a time; how long is our assumption."""
_AT_HOME = MappingProxyType(
    {
        "maximum_bolus": Ceiling(
            Bound(10.0, "U", "the therapy's own: at home it is only made stricter"), 43_200.0
        ),
        "suspend_below": Ceiling(
            Bound(70.0, "mg/dL", "the therapy's own: at home it is only made stricter, as for exercise"),
            43_200.0,
            Bound(110.0, "mg/dL", f"{_LOOP}: suspend threshold 67-110"),
        ),
    }
)

therapy = Therapy(
    id="t1d-insulin",
    title="Insulin by pump in type-1 diabetes",
    drugs=(Drug("insulin", "U", maximum_amount=60.0),),
    observed=(Quantity("glucose", "mg/dL", low=20.0, high=600.0),),
    covariates=(
        CovariateNeed("weight", "kg", low=10.0, high=250.0),
        CovariateNeed("total_daily_dose", "U", low=3.0, high=300.0),
        # what a clinic may know besides; 0 is not known
        CovariateNeed("basal_rate", "U/h", low=0.0, high=30.0, default=0.0),
        CovariateNeed("carbohydrate_ratio", "g/U", low=0.0, high=200.0, default=0.0),
        CovariateNeed("correction_factor", "mg/dL/U", low=0.0, high=1000.0, default=0.0),
    ),
    targets=MappingProxyType(
        {
            "low": Bound(70.0, "mg/dL", "International consensus on time in range, Battelino 2019"),
            "high": Bound(180.0, "mg/dL", "International consensus on time in range, Battelino 2019"),
            "risk_below_70": Bound(
                RISK_BELOW_70, "1", "our assumption: risk over 5 h, where 30 min without insulin leave less"
            ),
            "risk_below_54": Bound(
                RISK_BELOW_54, "1", "our assumption: risk over 5 h, where 30 min without insulin leave less"
            ),
            "goal": Bound(110.0, "mg/dL", f"{_LOOP} and {_OREF0} aim at 100-115"),
            "floor": Bound(
                60.0, "mg/dL", "as the limit suspend_predicted_below, so that no refusal is provoked"
            ),
            "bolus_increment": Bound(0.05, "U", "what common pumps deliver in"),
            "rate_increment": Bound(0.05, "U/h", "what common pumps deliver in"),
        }
    ),
    limits=MappingProxyType(
        {
            "maximum_rate": Bound(5.0, "U/h", f"{_AAPS}: 10 U/h; set lower here"),
            "maximum_bolus": Bound(10.0, "U", f"{_AAPS}: 17 U; set lower here"),
            "maximum_on_board": Bound(20.0, "U", f"{_LOOP}: 2 x maximum bolus"),
            "maximum_24h": Bound(120.0, "U", "our assumption: twice the daily dose of a resistant adult"),
            "suspend_below": Bound(70.0, "mg/dL", f"{_LOOP}: suspend threshold 67-110"),
            "suspend_predicted_below": Bound(
                60.0, "mg/dL", f"{_LOOP} suspends on any predicted low; here on the 5 % quantile over 2 h"
            ),
            "stale_after": Bound(900.0, "s", f"{_LOOP}: 15 min; {_OREF0}: 12 min"),
            "flat_after": Bound(2700.0, "s", f"{_OREF0}: flat for about 45 min"),
            "minimum_interval": Bound(180.0, "s", f"{_OREF0}: micro-bolus at most every 3 min"),
            "maximum_times_basal": Bound(4.0, "1", f"{_OREF0}: current_basal_safety_multiplier"),
            "maximum_given_since": Bound(20.0, "%", "Trio: a remote bolus of which more was given since"),
            "sensor_error_at": Bound(38.0, "mg/dL", f"{_OREF0}: an error code of the sensor"),
            "sensor_error_below": Bound(10.0, "mg/dL", f"{_OREF0}: no glucose but an error code"),
            "noise_above": Bound(
                25.0, "mg/dL", "our assumption: four times what common sensors scatter in 5 min"
            ),
            "minimum_spacing": Bound(20.0, "s", "AndroidAPS: readings 20 s apart or less are duplicates"),
        }
    ),
    sensor="dense",
    decision_interval_s=300.0,
    sampling_interval_s=300.0,
    stale_after_s=900.0,
    command_expires_s=300.0,
    horizon_s=18_000.0,
    make_bank=make_bank,
    source="Hovorka 2004, Physiol. Meas. 25:905, doi:10.1088/0967-3334/25/4/010",
    guarded="glucose",
    announcements=MappingProxyType(
        {
            "meal": "carbohydrate_g",
            "exercise": "intensity, 0 to 1 of the most one can do",
            "site_change": "nothing: the infusion site is new",
        }
    ),
    basal_rates=basal_rates,
    ceilings=MappingProxyType({"clinician": _CLINICIAN, "patient": _AT_HOME, "caregiver": _AT_HOME}),
    alerts=(
        # thresholds on probabilities are our assumption; glucose levels are the consensus's (Battelino 2019)
        AlertRule(
            "predicted_very_low",
            "high",
            "below_54",
            begins=0.5,
            ends=0.25,
            message="glucose below 54 mg/dL within 5 h with a chance of {value:.0%}",
        ),
        AlertRule(
            "predicted_low",
            "medium",
            "below_70",
            begins=0.6,
            ends=0.3,
            message="glucose below 70 mg/dL within 5 h with a chance of {value:.0%}",
        ),
        AlertRule(
            "high_glucose",
            "medium",
            "observed",
            begins=250.0,
            ends=230.0,
            message="glucose is {value:.0f} mg/dL, above 250",
        ),
    ),
    context=(
        Quantity("heart_rate", "/min", 20.0, 250.0),
        Quantity("systolic_pressure", "mm[Hg]", 40.0, 300.0),
        Quantity("diastolic_pressure", "mm[Hg]", 20.0, 200.0),
        Quantity("spo2", "%", 40.0, 100.0),
        Quantity("reservoir", "U", 0.0, 400.0),
        Quantity("battery", "%", 0.0, 100.0),
    ),
)
