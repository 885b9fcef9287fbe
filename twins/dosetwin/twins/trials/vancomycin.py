"""The virtual trial of vancomycin: infected adults whose kidneys change, not on the twin's model.

    dosetwin trial vancomycin --patients 200 --days 5 --policy dosetwin,label,nomogram,fixed --seed 5000

Plants: "thomson" (plants/infection.py) and "colin" (plants/infection_pooled.py), both on the ward of
`vancomycin_ward`; the twin has Goti 2018.
"""

from __future__ import annotations

from functools import partial

from dosetwin.twins.plants import infection, infection_pooled
from dosetwin.twins.trials.trial import Comparator, Measure, Trial
from dosetwin.twins.trials.vancomycin_figures import figures
from dosetwin.twins.trials.vancomycin_measures import DAYS_REPORTED
from dosetwin.twins.trials.vancomycin_rules import Fixed, TroughGuided, TwoLevels
from dosetwin.twins.trials.vancomycin_ward import CHALLENGES, Ward


def _share(name: str, title: str, better: str) -> Measure:
    return Measure(name, "%", "higher" if better == "higher" else "lower", title)


trial = Trial(
    therapy="vancomycin",
    plants={
        "thomson": partial(Ward, kinetics=infection.kinetics),
        "colin": partial(Ward, kinetics=infection_pooled.kinetics),
    },
    comparators={
        "label": Comparator(
            TroughGuided,
            "25 then 15 mg/kg by clearance, troughs 10-20 mg/L (Rybak 2009, doi:10.2146/ajhp080434)",
        ),
        "nomogram": Comparator(
            TwoLevels,
            "table of Thomson 2009 (doi:10.1093/jac/dkp085), then AUC24 from two levels (Rybak 2020)",
        ),
        "fixed": Comparator(Fixed, "1 g every 12 h, no levels (the label's usual dose)"),
    },
    measures=(
        _share("auc24_in_target_pct", "days with AUC24 400-600 mg.h/L", "higher"),
        _share("auc24_above_pct", "days with AUC24 above 600 mg.h/L", "lower"),
        *(
            measure
            for day in DAYS_REPORTED
            for measure in (
                _share(f"auc24_in_target_{24 * day}h_pct", f"AUC24 of day {day} within 400-600", "higher"),
                _share(f"auc24_above_{24 * day}h_pct", f"AUC24 of day {day} above 600", "lower"),
            )
        ),
        _share(
            "auc24_in_target_after_level_pct", "AUC24 of the day after the first level in target", "higher"
        ),
        _share("auc24_above_after_level_pct", "AUC24 of the day after the first level above 600", "lower"),
        Measure("samples", "1", "lower", "levels drawn from a patient"),
    ),
    default_days=5.0,
    figures=figures,
    challenges=CHALLENGES,
)
