"""General anaesthesia with propofol and remifentanil in one loop: hypnosis, mean pressure, heart rate.

Models: Eleveld 2018 and 2017, response surface of Bouillon 2004; the estimator an ensemble filter;
docs/models/propofol.md.
"""

from __future__ import annotations

from types import MappingProxyType

from dosetwin.twins.bank import Bank
from dosetwin.twins.therapy import AlertRule, Bound, CovariateNeed, Drug, Quantity, Therapy

_PROPOFOL = "label of propofol (Diprivan), section 2"
_REMIFENTANIL = "label of remifentanil (Ultiva), section 2"
_OURS = "our assumption"


def make_bank(capacity: int, seed: int) -> Bank:
    """An empty bank for about `capacity` patients; chance under `seed`."""
    from dosetwin.twins.estimators.anaesthesia_bank import AnaesthesiaBank

    return AnaesthesiaBank(capacity, seed)


therapy = Therapy(
    id="propofol",
    title="Propofol and remifentanil by pump under general anaesthesia",
    drugs=(Drug("propofol", "mg", maximum_amount=1000.0), Drug("remifentanil", "ug", maximum_amount=2000.0)),
    observed=(
        Quantity("bis", "1", low=0.0, high=100.0),
        Quantity("mean_arterial_pressure", "mm[Hg]", low=15.0, high=220.0),
        Quantity("heart_rate", "/min", low=15.0, high=250.0),
    ),
    covariates=(
        CovariateNeed("age", "a", 16.0, 100.0),
        CovariateNeed("weight", "kg", 30.0, 200.0),
        CovariateNeed("height", "cm", 120.0, 220.0),
        CovariateNeed("sex", "1", 0.0, 1.0),
    ),
    targets=MappingProxyType(
        {
            "bis_goal": Bound(50.0, "1", "middle of the recommended range"),
            "bis_low": Bound(40.0, "1", "BIS 40-60 under general anaesthesia (NICE DG6, 2012)"),
            "bis_high": Bound(60.0, "1", "BIS 40-60 under general anaesthesia (NICE DG6, 2012)"),
            "mean_arterial_pressure_low": Bound(
                65.0, "mm[Hg]", "Sessler 2019, Br J Anaesth 122:563, doi:10.1016/j.bja.2019.01.013: 60-70"
            ),
            "heart_rate_low": Bound(45.0, "/min", _OURS),
            "risk_bis_below_30": Bound(0.05, "1", f"{_OURS}: chance over the next 5 min"),
        }
    ),
    limits=MappingProxyType(
        {
            "maximum_rate@propofol": Bound(
                90.0, "mg/kg/h", f"{_PROPOFOL}: 20 mg every 10 s in the elderly is 103 mg/kg/h at 70 kg"
            ),
            "maximum_rate@remifentanil": Bound(120.0, "ug/kg/h", f"{_REMIFENTANIL}: at most 2 ug/kg/min"),
            "maximum_bolus@propofol": Bound(2.5, "mg/kg", f"{_PROPOFOL}: induction 2-2.5 mg/kg"),
            "maximum_bolus@remifentanil": Bound(1.0, "ug/kg", f"{_REMIFENTANIL}: 1 ug/kg over 30-60 s"),
            "maximum_on_board@propofol": Bound(5.0, "mg/kg", f"{_OURS}: twice the largest bolus"),
            "maximum_on_board@remifentanil": Bound(3.0, "ug/kg", f"{_OURS}: three times the largest bolus"),
            "maximum_24h@propofol": Bound(150.0, "mg/kg", f"{_PROPOFOL}: 12 mg/kg/h, for 12 h"),
            "maximum_24h@remifentanil": Bound(720.0, "ug/kg", f"{_OURS}: 0.5 ug/kg/min for 24 h"),
            "suspend_below@bis@propofol": Bound(25.0, "1", f"{_OURS}: burst suppression begins below 30"),
            "suspend_below@mean_arterial_pressure": Bound(45.0, "mm[Hg]", f"{_OURS}: a person must act"),
            "suspend_below@heart_rate@remifentanil": Bound(35.0, "/min", f"{_OURS}: a person must act"),
            "stale_after@bis": Bound(
                1800.0, "s", f"{_OURS}: a running anaesthetic is held on the model; to stop it is awareness"
            ),
            "stale_after@mean_arterial_pressure@remifentanil": Bound(
                900.0, "s", f"{_OURS}: a cuff is taken every 1-5 min"
            ),
            "flat_after@bis": Bound(900.0, "s", f"{_OURS}: an index that never moves is a disconnected one"),
        }
    ),
    sensor="dense",
    decision_interval_s=10.0,
    sampling_interval_s=5.0,
    stale_after_s=60.0,
    command_expires_s=20.0,
    horizon_s=300.0,
    make_bank=make_bank,
    source="Eleveld 2018, doi:10.1016/j.bja.2018.01.018; Eleveld 2017, doi:10.1097/ALN.0000000000001634; "
    "Bouillon 2004, doi:10.1097/00000542-200406000-00006",
    guarded="bis",
    alerts=(
        # thresholds on probabilities are our assumption
        AlertRule(
            "predicted_too_deep",
            "high",
            "bis_below_30",
            begins=0.5,
            ends=0.25,
            message="index below 30 within 5 min with a chance of {value:.0%}",
        ),
        AlertRule(
            "predicted_too_light",
            "medium",
            "bis_above_60",
            begins=0.6,
            ends=0.3,
            message="index above 60 with a chance of {value:.0%}",
        ),
        AlertRule(
            "predicted_hypotension",
            "medium",
            "mean_arterial_pressure_low",
            begins=0.7,
            ends=0.4,
            message="mean pressure below its bound within 5 min with a chance of {value:.0%}",
        ),
    ),
    context=(Quantity("spo2", "%", 40.0, 100.0),),
    announcements=MappingProxyType(
        {
            **dict.fromkeys(
                ("stimulus", "laryngoscopy", "intubation", "incision", "surgery"),
                "intensity: 1 is a skin incision, 0 no stimulus, 1.6 an intubation",
            ),
            "end_of_surgery": "no number: both infusions are stopped",
        }
    ),
)
