"""Myelosuppression: proliferating cells, three stages of maturation, circulating cells with feedback.

    Prol'     = ktr Prol (1 - E) (Circ0/Circ)^gamma - ktr Prol
    Transit1' = ktr (Prol - Transit1), Transit2' = ktr (Transit1 - Transit2), Transit3' likewise
    Circ'     = ktr (Transit3 - Circ),      ktr = 4/MTT,  all at Circ0 before treatment
    E         = slope C                 "linear"
              = Emax C / (EC50 + C)     "emax"

Source: Friberg, Henningsson, Maas, Nguyen & Karlsson 2002, doi:10.1200/JCO.2002.02.140.
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

CELLS = ("proliferating", "transit_1", "transit_2", "transit_3", "circulating")


@cache
def myelosuppression(
    pk: Disposition | None = None,
    effect: Literal["linear", "emax"] = "linear",
    *,
    input_function: InputFunction | None = None,
    solver: Solver | None = None,
) -> ODE:
    """Circ0, MTT, gamma, slope (or Emax, EC50), and the parameters of `pk` (default: one compartment).

    Outputs: circulating, central.
    """
    drug = pk or Disposition()
    if effect not in ("linear", "emax"):
        raise ModelError(f"found effect {effect!r}; expected linear or emax")

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        C = drug.concentration(p, x)
        E = p.slope * C if effect == "linear" else emax(C, p.Emax, p.EC50)
        ktr = 4 / p.MTT
        feedback = (p.Circ0 / x.circulating) ** p.gamma
        return drug(p, x) | {
            "proliferating": ktr * x.proliferating * ((1 - E) * feedback - 1),
            "transit_1": ktr * (x.proliferating - x.transit_1),
            "transit_2": ktr * (x.transit_1 - x.transit_2),
            "transit_3": ktr * (x.transit_2 - x.transit_3),
            "circulating": ktr * (x.transit_3 - x.circulating),
        }

    return ODE(
        slopes,
        (*drug.compartments, *CELLS),
        {"circulating": "circulating", **drug.outputs},
        dict.fromkeys(CELLS, "Circ0"),
        input_function=input_function,
        solver=solver,
    )
