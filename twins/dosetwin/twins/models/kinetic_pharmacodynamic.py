"""K-PD: a response to doses when no concentration was ever measured.

    A' = -KDE A,    IR = KDE A (the virtual infusion rate),    H = Imax IR / (EDK50 + IR), or Emax ...

and H acts on a turnover as in `turnover` (Jacqmin's indirect response), or the effect is direct.

Source: Jacqmin, Snoeck, van Schaick, Gieschke, Pillai, Steimer & Girard 2007,
doi:10.1007/s10928-006-9035-z.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from dosetwin.twins.models.direct_effect import emax
from dosetwin.twins.models.linear_system import LinearSystem
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Solver
from dosetwin.twins.models.turnover import Action, response_slope


@cache
def kinetic_pharmacodynamic(action: Action, *, sigmoid: bool = False, solver: Solver | None = None) -> ODE:
    """KDE, EDK50, kin, kout; Imax for an inhibition or Emax for a stimulation; with sigmoid also hill.

    Outputs: response, infusion_rate (IR).
    """

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        most = p.Imax if action.startswith("inhibit") else p.Emax
        H = emax(p.KDE * x.dose, most, p.EDK50, p.hill if sigmoid else None)
        return {"dose": -p.KDE * x.dose, "response": response_slope(action, H, x.response, p)}

    return ODE(
        slopes,
        ("dose", "response"),
        {"response": "response", "infusion_rate": _infusion_rate},
        {"response": "kin/kout"},
        solver=solver,
    )


@cache
def virtual_infusion() -> LinearSystem:
    """The K-PD drive alone, for a direct effect: KDE; output `infusion_rate` (IR).

    Observe it with `direct_effect("infusion_rate")`, whose EC50 then is the EDK50.
    """
    return LinearSystem(("dose",), {("dose", "out"): "KDE"}, {"infusion_rate": _infusion_rate})


def _infusion_rate(p: Any, x: Any) -> Any:
    return p.KDE * x.dose
