"""The virtual trial of propofol with remifentanil: operations on adults, from awake to the end of surgery."""

from __future__ import annotations

from dosetwin.twins.patient import Patient
from dosetwin.twins.plants.anaesthesia_people import AGES
from dosetwin.twins.trials.anaesthesia_figures import figures
from dosetwin.twins.trials.anaesthesia_manual import ByHand
from dosetwin.twins.trials.anaesthesia_measures import MEASURES
from dosetwin.twins.trials.anaesthesia_pid import PID
from dosetwin.twins.trials.anaesthesia_plant import CHALLENGES, OPTIONS, OperatingTheatres
from dosetwin.twins.trials.anaesthesia_tci import TargetControlled
from dosetwin.twins.trials.trial import Cohort, Comparator, Controller, Trial, TrialPlant


def surgical(cohort: Cohort) -> TrialPlant:
    """Surgical patients, whose pressure falls as it did in 54 patients of VitalDB."""
    return OperatingTheatres(cohort, "surgical")


def volunteers(cohort: Cohort) -> TrialPlant:
    """The circulation of Su's volunteers, whose pressure falls more."""
    return OperatingTheatres(cohort, "volunteers")


def difficult(cohort: Cohort) -> TrialPlant:
    """Surgical patients who are harder to control than is usual: spread, slopes, stimuli, monitor."""
    return OperatingTheatres(cohort, "surgical", difficult=True)


def _pid(patients: tuple[Patient, ...], seed: int) -> Controller:
    return PID(patients)


def _tci(patients: tuple[Patient, ...], seed: int) -> Controller:
    return TargetControlled(patients)


def _by_hand(patients: tuple[Patient, ...], seed: int) -> Controller:
    return ByHand(patients)


trial = Trial(
    therapy="propofol",
    plants={"surgical": surgical, "volunteers": volunteers, "difficult": difficult},
    comparators={
        "pid": Comparator(
            _pid,
            "PID of BIS with anti-windup, remifentanil in proportion (after Merigo 2019), searched on"
            " development patients",
        ),
        "tci_fixed": Comparator(_tci, "Target-controlled infusion (Schnider, Minto) at usual targets by age"),
        "manual": Comparator(_by_hand, "By hand: label doses, Roberts' 10-8-6, adjusted by the minute"),
    },
    measures=MEASURES,
    default_days=2.5 / 24.0,
    figures=figures,
    groups=tuple(AGES),
    challenges=CHALLENGES,
    options=OPTIONS,
)
