"""Elimination that saturates: Vmax C / (Km + C), alone or beside a linear clearance.

Sources: Michaelis & Menten 1913; in pharmacokinetics Wagner 1973, doi:10.1007/BF01059625, and for mixed
elimination Gabrielsson & Weiner, Pharmacokinetic and Pharmacodynamic Data Analysis, 5th ed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.input_functions import InputFunction
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Solver


@cache
def michaelis_menten(
    size: Literal[1, 2, 3] = 1,
    absorption: Literal["none", "first_order"] = "none",
    *,
    mixed: bool = False,
    input_function: InputFunction | None = None,
    solver: Solver | None = None,
) -> ODE:
    """Vmax (amount/time), Km (concentration), V1; with mixed also CL; then Q2, V2, Q3, V3; ka."""
    pk = Disposition(size, absorption, "mixed" if mixed else "michaelis_menten")

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        return pk(p, x)

    return ODE(slopes, pk.compartments, pk.outputs, input_function=input_function, solver=solver)
