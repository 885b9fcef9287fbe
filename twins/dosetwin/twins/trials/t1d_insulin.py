"""The virtual trial of `t1d-insulin`: UVA/Padova patients with pump and sensor; see `glucose_plant`.

dosetwin trial t1d-insulin --patients 20 --days 1 --policy dosetwin --policy pid --seed 5001
"""

from __future__ import annotations

from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.glucose_basal_bolus import BasalBolus
from dosetwin.twins.trials.glucose_figures import figures
from dosetwin.twins.trials.glucose_measures import MEASURES
from dosetwin.twins.trials.glucose_options import CHALLENGES, OPTIONS
from dosetwin.twins.trials.glucose_pid import ProportionalIntegralDerivative
from dosetwin.twins.trials.glucose_plant import GlucosePlant
from dosetwin.twins.trials.trial import Comparator, Controller, Trial


def _fixed(patients: tuple[Patient, ...], seed: int) -> Controller:
    return BasalBolus(patients, doses=False)


def _basal_bolus(patients: tuple[Patient, ...], seed: int) -> Controller:
    return BasalBolus(patients)


def _suspend(patients: tuple[Patient, ...], seed: int) -> Controller:
    return BasalBolus(patients, suspends=True)


def _pid(patients: tuple[Patient, ...], seed: int) -> Controller:
    return ProportionalIntegralDerivative(patients)


trial = Trial(
    therapy="t1d-insulin",
    plants={"uva_padova": GlucosePlant},
    comparators={
        "basal_bolus": Comparator(
            _basal_bolus, "Programme, meal boluses by the own ratio, corrections (Schmidt 2014)"
        ),
        "low_glucose_suspend": Comparator(
            _suspend, "The same, and the pump stops before a predicted low (Forlenza 2018)"
        ),
        "pid": Comparator(_pid, "PID with insulin feedback and anti-windup (Steil 2006, 2011)"),
        "fixed": Comparator(_fixed, "The programme alone"),
    },
    measures=MEASURES,
    default_days=14.0,
    figures=figures,
    groups=("adult", "adolescent", "child"),
    challenges=CHALLENGES,
    options=OPTIONS,
)
