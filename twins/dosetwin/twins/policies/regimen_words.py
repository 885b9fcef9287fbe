"""A regimen's choice in words: why, what a level would tell, and what would have changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.policies.regimen_aims import Aim, Judged
from dosetwin.twins.policies.regimen_levels import NextLevel

Values = npt.NDArray[np.float64]
TAIL = 3
"""What would have changed the choice is asked of the lowest and of the highest third of the samples."""


def reasons(
    aim: Aim,
    wanted: Sequence[Mapping[str, float]],
    names: Sequence[tuple[str, ...]],
    best: npt.NDArray[np.integer],
    found: Judged,
    area: Values,
    level: NextLevel,
    sure: npt.NDArray[np.bool_],
) -> list[str]:
    """One sentence or two a patient."""
    n = len(names)
    pick = np.arange(n)
    met, above = found.met[pick, :, best].mean(axis=1), found.above[pick, :, best].mean(axis=1)
    keep = found.met[:, :, 0, 1].mean(axis=1)
    said = []
    for i in range(n):
        low, high, _ = aim.edges(wanted[i])
        text = f"{names[i][best[i]]}: {met[i, 1]:.0%} chance of {aim.title} {low:g}-{high:g} {aim.unit} "
        text += "tomorrow"
        if aim.measure == "auc24":
            text += f" (median {np.median(area[i, :, 1]):.0f})"
        text += f", {above[i, 1]:.0%} above; {met[i, 0]:.0%} today"
        if best[i] != 0:
            text += (
                f"; going on as now {keep[i]:.0%}"
                if sure[i]
                else "; what the device does next is not certain"
            )
        if np.isfinite(level.at_h[i]):
            text += (
                f". Next level in {level.at_h[i]:g} h: it would narrow tomorrow's {aim.title} "
                f"from +-{level.sd_now[i]:.0f} to +-{level.sd_expected[i]:.0f} {aim.unit}"
            )
        elif np.isfinite(level.worth[i]):
            text += ". Another level would change the choice too little for what it costs"
        said.append(text)
    return said


def would_change(
    theta: Values,
    structure: Linear,
    utility: Values,
    feasible: npt.NDArray[np.bool_],
    best: npt.NDArray[np.integer],
    names: Sequence[tuple[str, ...]],
) -> list[str]:
    """What clearance would have led to another choice: the best for the lowest and for the highest third."""
    clearance = theta[:, :, structure.parameters.index("CL")]
    third = clearance.shape[1] // TAIL
    said = []
    for i, own in enumerate(names):
        order = np.argsort(clearance[i], kind="stable")
        parts = []
        for members, word, edge in (
            (order[:third], "below", clearance[i, order[third]]),
            (order[-third:], "above", clearance[i, order[-third]]),
        ):
            # what was never feasible is no alternative; "keep" stands for itself
            score = np.where(feasible[i], utility[i, members].mean(axis=0), -np.inf)
            other = int(score.argmax())
            if other != best[i] and feasible[i].any():
                parts.append(f"{own[other]} if clearance were {word} {edge:.2g} L/h")
        now = np.median(clearance[i])
        if parts:
            said.append(f"{'; '.join(parts)} (it is taken as {now:.2g} L/h)")
        else:
            said.append(
                f"no clearance within the present uncertainty (median {now:.2g} L/h) would change the choice"
            )
    return said
