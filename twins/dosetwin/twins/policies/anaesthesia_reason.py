"""Why an anaesthesia candidate was chosen, and what would have changed it, in words a clinician reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.policies.anaesthesia_cost import TERMS
from dosetwin.twins.policies.anaesthesia_orders import CANDIDATES

Values = npt.NDArray[np.floating]


class Said(NamedTuple):
    """What the sentence of one patient is made of; all [patients] but the units."""

    mg_h: Values
    ug_h: Values
    propofol_ug_mL: Values
    remifentanil_ng_mL: Values
    index_now: Values
    index_end: Values
    pressure_end: Values
    below_30: Values
    stimulus: Values
    blind_s: Values
    ended: npt.NDArray[np.bool_]


def reasons(best: npt.NDArray[np.integer], said: Said, feasible: npt.NDArray[np.bool_]) -> list[str]:
    """One sentence a patient."""
    made = []
    for c, possible, values in zip(
        best.tolist(), feasible.tolist(), zip(*(v.tolist() for v in said), strict=True), strict=True
    ):
        s = Said(*values)
        if s.ended:
            made.append("end of surgery was announced: both infusions are stopped.")
            continue
        text = (
            f"{CANDIDATES[c]}: propofol {s.mg_h:.0f} mg/h towards {s.propofol_ug_mL:.1f} ug/mL, "
            f"remifentanil {s.ug_h:.0f} ug/h towards {s.remifentanil_ng_mL:.1f} ng/mL; index "
            f"{s.index_now:.0f}, expected {s.index_end:.0f} and mean pressure {s.pressure_end:.0f} mm[Hg] "
            f"in 5 min, {s.below_30:.0%} chance of an index below 30"
        )
        if s.stimulus >= 0.1:
            text += f"; stimulation asks for {np.expm1(s.stimulus):.0%} more drug"
        if s.blind_s == float("inf"):
            text += "; the index was never read, so no propofol is given"
        elif s.blind_s > 0.0:
            text += f"; no index for {s.blind_s:.0f} s: held on the model"
        if not possible:
            text += "; no option keeps every risk within bounds, this has the least cost and excess"
        made.append(text + ".")
    return made


def would_change(
    best: npt.NDArray[np.integer],
    cost: Values,
    terms: Values,
    feasible: npt.NDArray[np.bool_],
    below_30: Values,
    accepted: Values,
) -> list[str]:
    """One sentence a patient; [candidates, patients] each, `terms` with the term first."""
    n = len(best)
    who = np.arange(n)
    cheapest = cost.argmin(0)
    others = cost.copy()
    others[best, who] = np.inf
    second = np.where(feasible, others, np.inf).argmin(0)
    gap = others[second, who] - cost[best, who]
    differs = terms[:, second, who] - terms[:, best, who]
    decisive = differs.argmax(0)
    made = []
    for k in range(n):
        free = int(cheapest[k])
        if free != int(best[k]) and not feasible[free, k]:
            made.append(
                f"{CANDIDATES[free]} costs less, and would be chosen if its chance of an index below 30 were "
                f"at most {accepted[k]:.0%} instead of {below_30[free, k]:.0%}."
            )
        elif np.isfinite(gap[k]):
            made.append(
                f"{CANDIDATES[int(second[k])]} comes next, dearer by {gap[k]:.2f}, most of it for "
                f"{TERMS[int(decisive[k])]} ({differs[decisive[k], k]:.2f} more): it would be chosen if that "
                f"counted {gap[k]:.2f} less."
            )
        else:
            made.append("No other option keeps the accepted risks.")
    return made
