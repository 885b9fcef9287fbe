"""The sentence that says why, for a clinician: what is ordered, what is expected, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order

SUSPECT = 0.5
"""Probability from which an input that nobody announced is spoken of."""

Values = npt.NDArray[np.floating]


class Reasons:
    """Writes the reasons of a batch; what is said of a choice itself is put into words once."""

    def __init__(self, candidates: tuple[str, ...], orders: Mapping[int, tuple[Order, ...]]) -> None:
        self._candidates = candidates
        self._orders = orders
        self._choices: dict[tuple[int, int, bool], str] = {}

    def write(
        self,
        best: npt.NDArray[np.integer],
        codes: npt.NDArray[np.int64],
        *,
        feasible: npt.NDArray[np.bool_],
        glucose_mg_dL: Values,
        lowest_mg_dL: Values,
        below_70: Values,
        median_end_mg_dL: Values,
        on_board_U: Values,
        gut_g: Values,
        suspected: Mapping[str, Values],
        meal_g: Values,
    ) -> list[str]:
        """One sentence a patient; all arrays are [patients], of candidate `best` and what its code orders."""
        choices = self._choices
        whole = np.rint(np.stack([glucose_mg_dL, median_end_mg_dL, lowest_mg_dL, 100.0 * below_70, gut_g]))
        made = []
        said = self._suspicions(suspected, meal_g)
        for suspicion, c, code, possible, glucose, end, lowest, below, gut, board, gut_exact in zip(
            said,
            best.tolist(),
            codes.tolist(),
            feasible.tolist(),
            *whole.astype(np.int64).tolist(),
            on_board_U.tolist(),
            gut_g.tolist(),
            strict=True,
        ):
            choice = choices.get((c, code, possible))
            if choice is None:
                choice = choices[c, code, possible] = self._choice(c, code, possible)
            to_come = f", {gut} g carbohydrate still to come" if gut_exact >= 1.0 else ""
            made.append(
                f"{choice} glucose {glucose} mg/dL, expected {end} in 4 h; a 1 in 20 chance of {lowest} or "
                f"lower, {below} % of below 70; {board:.1f} U on board{to_come}{suspicion}."
            )
        return made

    @staticmethod
    def _suspicions(suspected: Mapping[str, Values], meal_g: Values) -> list[str]:
        """What is likelier than SUSPECT not to be chance, in words; nothing for most patients."""
        said = [""] * len(meal_g)
        for name, probability in suspected.items():
            words = name.replace("_", " ")
            for i in np.flatnonzero(probability > SUSPECT):
                size = f" of {meal_g[i]:.0f} g" if name == "meal" else ""
                said[i] += f"; an unannounced {words}{size} is suspected ({100 * probability[i]:.0f} %)"
        return said

    def would_change(
        self,
        best: npt.NDArray[np.integer],
        wanted: npt.NDArray[np.integer],
        runner_up: npt.NDArray[np.integer],
        *,
        falls: Values,
        rises: Values,
    ) -> list[str]:
        """What would have led to another choice; all arrays are [patients], shifts in mg/dL (NaN: none)."""
        made = []
        names = self._candidates
        for c, w, r, fall, rise in zip(
            best.tolist(), wanted.tolist(), runner_up.tolist(), falls.tolist(), rises.tolist(), strict=True
        ):
            if w != c:
                needs = f"{rise:.0f} mg/dL higher" if rise == rise else "more than 60 mg/dL higher"
                made.append(
                    f"glucose {needs} would have allowed {names[w]}, which the risk of low glucose rules out"
                )
            elif fall == fall:
                made.append(
                    f"glucose {fall:.0f} mg/dL lower would have ruled out {names[c]}; "
                    f"next in utility is {names[r]}"
                )
            else:
                made.append(f"no glucose within 60 mg/dL rules out {names[c]}; next in utility is {names[r]}")
        return made

    def _choice(self, candidate: int, code: int, feasible: bool) -> str:
        what = "; ".join(
            f"{order.amount:g} {order.unit}"
            + (f" for {order.duration_s / 60:.0f} min" if order.duration_s else " now")
            for order in self._orders[code]
        )
        name = self._candidates[candidate]
        choice = f"{name} ({what})" if what else f"{name}, as the pump already does"
        if feasible:
            return f"{choice}:"
        return f"{choice}: no option keeps the risk of low glucose within bounds, this has the least;"
