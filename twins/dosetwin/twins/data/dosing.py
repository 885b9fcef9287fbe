"""The dosing items of records: EVID, AMT, RATE, DUR, CMT, II, ADDL, SS, checked as PREDPP checks them.

Source: NONMEM Users Guide VI (PREDPP), chapter V, and the help entries EVID, AMT, RATE, SS, II, ADDL, CMT.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.clock_times import intervals
from dosetwin.twins.data.columns import Items
from dosetwin.twins.data.subject import (
    DOSE,
    DURATION_MODELLED,
    OBSERVATION,
    RATE_MODELLED,
    RESET_AND_DOSE,
    Codes,
    Values,
)

EXPECTED_EVID = "0 (observation), 1 (dose), 2 (other), 3 (reset) or 4 (reset and dose)"


class Dosing(NamedTuple):
    """One entry a row, as in `Subject`."""

    evid: Codes
    amount: Values
    rate: Values
    duration: Values
    compartment: Codes
    interval: Values
    additional: Codes
    steady_state: Codes


def dosing(items: Items, *, time_unit: str, dose_scale: float) -> Dosing:
    """Read and check the dosing items; what cannot mean anything is reported to `items.problems`."""
    given = {
        "AMT": items.numbers("AMT"),
        "RATE": items.numbers("RATE"),
        "DUR": items.numbers("DUR"),
        "II": intervals(items, time_unit),
        "ADDL": items.whole("ADDL", "a whole number").astype(np.float64),
        "SS": items.whole("SS", "0, 1 or 2").astype(np.float64),
    }
    # the sign of what was written, before a missing cell becomes the 0 that it means
    filled = {item: np.nan_to_num(values) for item, values in given.items()}
    amount, rate, duration = filled["AMT"], filled["RATE"], filled["DUR"]
    interval, additional, steady = filled["II"], filled["ADDL"], filled["SS"]
    report = _Reports(items)
    report(amount < 0, "AMT", amount, "0 or more", "a dose cannot be negative")
    report(
        (rate < 0) & (rate != RATE_MODELLED) & (rate != DURATION_MODELLED),
        "RATE",
        rate,
        "0 or more, -1 (rate by the model) or -2 (duration by the model)",
        "write the rate; -1 and -2 need the model's R and D",
    )
    report(duration < 0, "DUR", duration, "0 or more", "write the duration of the infusion")
    report(interval < 0, "II", interval, "0 or more", "write the interval between doses")
    report(
        additional < 0,
        "ADDL",
        additional,
        "0 or more",
        "NONMEM's empirical steady state (ADDL < 0) is not supported: use SS=1",
    )
    report(~np.isin(steady, (0, 1, 2)), "SS", steady, "0, 1 or 2", "SS=3 is not supported: use SS=1")
    evid = _evid(items, filled)
    dose = np.isin(evid, (DOSE, RESET_AND_DOSE))
    _check_no_dose(items, evid, dose, filled)
    _check_doses(items, dose, filled, report)
    compartment = items.whole("CMT", "a whole number: the compartment's place")
    report(
        compartment < 0,
        "CMT",
        compartment.astype(np.float64),
        "0 (default) or more",
        "turning a compartment off (CMT < 0) is not supported; a reset of the whole system is EVID=3",
    )
    return Dosing(
        evid,
        amount * dose_scale,
        np.where(rate > 0, rate * dose_scale, rate),
        np.where(rate != 0, 0.0, duration),
        compartment,
        interval,
        additional.astype(np.int64),
        steady.astype(np.int64),
    )


class _Reports:
    def __init__(self, items: Items) -> None:
        self.items = items

    def __call__(
        self, wrong: npt.NDArray[np.bool_], item: str, found: Values, expected: str, remedy: str
    ) -> None:
        if wrong.any():
            self.items.problems.rows(wrong, self.items.name(item), found, expected, remedy)


def _evid(items: Items, filled: dict[str, Values]) -> Codes:
    """EVID as given; where missing 1 for a row with any dosing item and 0 for one without."""
    doses = np.any([filled[item] != 0 for item in ("AMT", "RATE", "SS", "ADDL")], axis=0)
    derived = np.where(doses, DOSE, OBSERVATION)
    if "EVID" not in items:
        if doses.any():
            items.notes.append(f"no EVID: {int(doses.sum())} rows with an amount read as doses")
        return derived
    evid = items.whole("EVID", EXPECTED_EVID, default=-1)
    missing = np.isnan(items.numbers("EVID"))
    wrong = ~np.isin(evid, range(5)) & ~missing
    name = items.name("EVID")
    items.problems.rows(
        wrong, name, items.numbers("EVID"), EXPECTED_EVID, "recode it (101 and the like are RxODE's: 1)"
    )
    if missing.any():
        items.notes.append(f"{int(missing.sum())} rows without EVID: doses where they have an amount")
    return np.where(wrong | missing, derived, evid)


def _check_no_dose(items: Items, evid: Codes, dose: npt.NDArray[np.bool_], filled: dict[str, Values]) -> None:
    for item, values in filled.items():

        def said(k: int, values: Values = values) -> str:
            return f"{values[k]:g} with EVID={evid[k]}"

        items.problems.rows(
            ~dose & (values != 0) & np.isin(evid, range(5)),
            items.name(item),
            said,
            "0 or . on a record that is no dose",
            f"write EVID=1 for a dose; rename {items.name(item)} by columns= if it is no dosing item",
        )


def _check_doses(
    items: Items, dose: npt.NDArray[np.bool_], filled: dict[str, Values], report: _Reports
) -> None:
    amount, rate, duration = filled["AMT"], filled["RATE"], filled["DUR"]
    interval, additional, steady = filled["II"], filled["ADDL"], filled["SS"]
    both = dose & (rate != 0) & (duration > 0)
    agree = both & (rate > 0) & np.isclose(amount, rate * duration, rtol=1e-3, atol=0)
    if agree.any():
        items.notes.append(f"RATE and DUR agree in {int(agree.sum())} rows: RATE is used")
    report(
        both & ~agree,
        "DUR",
        duration,
        "either a RATE or a DUR, or both with AMT = RATE x DUR",
        "leave one of them empty",
    )
    for_ever = dose & (amount == 0) & (rate > 0) & (steady > 0)
    report(
        dose & (amount == 0) & (rate > 0) & (steady == 0),
        "AMT",
        amount,
        "an amount above 0 with a RATE (its infusion lasts AMT/RATE)",
        "write the amount; only a steady-state infusion (SS=1, II=0) has none",
    )
    report(
        for_ever & (interval > 0),
        "II",
        interval,
        "0 for the steady state of a constant infusion (AMT=0, RATE>0)",
        "write II=0, or the amount of one infusion",
    )
    report(
        for_ever & (additional > 0),
        "ADDL",
        additional,
        "0 for the steady state of a constant infusion (AMT=0, RATE>0)",
        "write ADDL=0",
    )
    report(
        dose & (steady > 0) & (interval <= 0) & ~for_ever,
        "II",
        interval,
        "above 0 with SS; 0 only for a constant infusion (AMT=0, RATE>0)",
        "write the interval between the doses",
    )
    report(
        dose & (steady > 0) & (interval > 0) & (amount == 0) & ~for_ever,
        "AMT",
        amount,
        "above 0 with SS and II",
        "write the amount of one dose",
    )
    report(
        dose & (additional > 0) & (interval <= 0) & ~for_ever,
        "II",
        interval,
        "above 0 with ADDL",
        "write the interval between the additional doses",
    )
    nothing = dose & (amount == 0) & (rate <= 0) & (steady == 0)
    if nothing.any():
        items.notes.append(f"{int(nothing.sum())} doses of 0 kept")
    idle = dose & (interval > 0) & (steady == 0) & (additional == 0)
    if idle.any():
        items.notes.append(f"II of {int(idle.sum())} doses has no effect: they have neither ADDL nor SS")
