"""Turnover of a response, and the four indirect responses: a drug that acts on its making or its loss.

    R' = kin - kout R,   R(0) = kin/kout, and with H = Imax C/(IC50 + C) or Emax C/(EC50 + C)

    I   "inhibit_input"    R' = kin (1 - H) - kout R
    II  "inhibit_loss"     R' = kin - kout (1 - H) R
    III "stimulate_input"  R' = kin (1 + H) - kout R
    IV  "stimulate_loss"   R' = kin - kout (1 + H) R

Sources: Dayneka, Garg & Jusko 1993, doi:10.1007/BF01061691; Sharma & Jusko 1996,
doi:10.1007/BF02353483 (with Hill's exponent).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from dosetwin.twins.models.direct_effect import emax
from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.input_functions import InputFunction
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Solver

Action = Literal["inhibit_input", "inhibit_loss", "stimulate_input", "stimulate_loss"]
ACTIONS = ("inhibit_input", "inhibit_loss", "stimulate_input", "stimulate_loss")


def response_slope(action: Action, H: Any, response: Any, p: Any) -> Any:
    """R' under an action of strength H."""
    making, loss = p.kin, p.kout * response
    if action == "inhibit_input":
        return making * (1 - H) - loss
    if action == "inhibit_loss":
        return making - loss * (1 - H)
    if action == "stimulate_input":
        return making * (1 + H) - loss
    if action == "stimulate_loss":
        return making - loss * (1 + H)
    raise ModelError(f"found action {action!r}; expected one of {', '.join(ACTIONS)}")


def strength(action: Action, C: Any, p: Any, *, sigmoid: bool) -> Any:
    """H of a concentration: Imax and IC50 for an inhibition, Emax and EC50 for a stimulation; hill."""
    inhibits = action.startswith("inhibit")
    most, half = (p.Imax, p.IC50) if inhibits else (p.Emax, p.EC50)
    return emax(C, most, half, p.hill if sigmoid else None)


@cache
def indirect_response(
    action: Action,
    pk: Disposition | None = None,
    *,
    sigmoid: bool = False,
    input_function: InputFunction | None = None,
    solver: Solver | None = None,
) -> ODE:
    """A response driven by the central concentration of `pk` (default: one compartment, no depot).

    kin, kout; Imax, IC50 or Emax, EC50; with sigmoid also hill. Outputs: response, central.
    """
    drug = pk or Disposition()

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        H = strength(action, drug.concentration(p, x), p, sigmoid=sigmoid)
        return drug(p, x) | {"response": response_slope(action, H, x.response, p)}

    return ODE(
        slopes,
        (*drug.compartments, "response"),
        {"response": "response", **drug.outputs},
        {"response": "kin/kout"},
        input_function=input_function,
        solver=solver,
    )
