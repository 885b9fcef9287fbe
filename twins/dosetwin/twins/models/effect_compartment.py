"""The effect compartment: a concentration at the site of action that lags behind plasma.

    Ce' = ke0 (C - Ce)

It takes no drug from plasma. Its amount here is Ce V1, so the structure stays a linear graph and exact.
Source: Sheiner, Stanski, Vozeh, Miller & Ham 1979, doi:10.1002/cpt1979253358.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.linear_system import LinearSystem


@cache
def effect_compartment(
    size: Literal[1, 2, 3] = 1, absorption: Literal["none", "first_order"] = "none"
) -> LinearSystem:
    """Outputs `central` (C) and `effect` (Ce); parameters of the disposition (CL, V1, ...) and ke0.

    Observe it with `direct_effect("effect")` for an Emax or sigmoid effect.
    """
    pk = Disposition(size, absorption)
    return LinearSystem(
        (*pk.compartments, "effect"),
        {**pk.flows, ("effect", "out"): "ke0"},
        {**pk.outputs, "effect": "effect/V1"},
        drives={("central", "effect"): "ke0"},
    )
