"""Type-1 diabetes with pens: advice on boluses with meals and corrections, and the day's long-acting dose.

The twin is that of `t1d-insulin`; a person injects what is advised, or something else, and says so.
"""

from __future__ import annotations

from types import MappingProxyType

from dosetwin.twins.bank import Bank
from dosetwin.twins.therapies.t1d_insulin import therapy as by_pump
from dosetwin.twins.therapy import Bound, CovariateNeed, Drug, Therapy

_OURS = "our assumption"


def make_bank(capacity: int, seed: int) -> Bank:
    """An empty bank for about `capacity` patients; chance under `seed`."""
    from dosetwin.twins.estimators.pen_bank import PenBank

    return PenBank(capacity, seed)


therapy = Therapy(
    id="t1d-pen",
    title="Insulin by pen in type-1 diabetes: advice with meals, long-acting titration",
    drugs=(Drug("insulin", "U", maximum_amount=60.0), Drug("insulin-glargine", "U", maximum_amount=100.0)),
    observed=by_pump.observed,
    covariates=(
        CovariateNeed("weight", "kg", low=10.0, high=250.0),
        CovariateNeed("total_daily_dose", "U", low=3.0, high=300.0),
        CovariateNeed("dose_step", "U", low=0.5, high=1.0, default=1.0),
        CovariateNeed("evening_hour", "h", low=0.0, high=24.0, default=21.0),
    ),
    targets=MappingProxyType(
        {
            "low": by_pump.targets["low"],
            "high": by_pump.targets["high"],
            "risk_below_70": Bound(
                0.20,
                "1",
                f"{_OURS}: risk added over 5 h against no bolus; who injects can eat, a pump cannot",
            ),
            "risk_below_54": Bound(0.06, "1", f"{_OURS}: risk added over 5 h against no bolus"),
        }
    ),
    limits=MappingProxyType(
        {
            "maximum_bolus@insulin": Bound(20.0, "U", f"{_OURS}: a large meal of a resistant adult"),
            "maximum_bolus@insulin-glargine": Bound(60.0, "U", f"{_OURS}: half of maximum_24h of a pump"),
            "maximum_on_board@insulin": Bound(25.0, "U", f"{_OURS}: one bolus and a quarter"),
            "maximum_on_board@insulin-glargine": Bound(90.0, "U", f"{_OURS}: a dose and half of the last"),
            "maximum_24h@insulin": Bound(120.0, "U", f"{_OURS}: twice the daily dose of a resistant adult"),
            "maximum_24h@insulin-glargine": Bound(80.0, "U", f"{_OURS}: one dose a day"),
            "suspend_below": Bound(70.0, "mg/dL", "level 1 hypoglycaemia: eat before injecting"),
            "suspend_predicted_below": Bound(
                54.0, "mg/dL", f"{_OURS}: on the forecast's 5 % quantile; a pen's dose cannot be taken back"
            ),
            "stale_after": Bound(900.0, "s", "Loop / LoopAlgorithm: 15 min"),
            "flat_after": Bound(2700.0, "s", "openaps/oref0 0.7.1: flat for about 45 min"),
            "minimum_interval@insulin": Bound(900.0, "s", f"{_OURS}: a person needs the time to inject"),
            "minimum_interval@insulin-glargine": Bound(64_800.0, "s", f"{_OURS}: once a day, 18 h apart"),
        }
    ),
    sensor="dense",
    decision_interval_s=300.0,
    sampling_interval_s=300.0,
    stale_after_s=900.0,
    command_expires_s=900.0,
    horizon_s=18_000.0,
    make_bank=make_bank,
    source="Hovorka 2004, doi:10.1088/0967-3334/25/4/010; Lepore 2000, doi:10.2337/diabetes.49.12.2142",
    guarded="glucose",
    alerts=by_pump.alerts,
    context=by_pump.context,
)
