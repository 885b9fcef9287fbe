"""Target-mediated drug disposition: a drug that binds a target which is made, lost and internalised.

Full model, C free drug, R free target, RC complex (all molar concentrations):

    central' = ... - CL C - V1 (kon C R - koff RC)
    R'       = ksyn - kdeg R - kon C R + koff RC
    RC'      = kon C R - (koff + kint) RC,      R(0) = ksyn/kdeg, RC(0) = 0

Quasi-steady state (QSS), with Kss = (koff + kint)/kon, the totals Ctot = C + RC and Rtot = R + RC, and

    C     = (Ctot - Rtot - Kss + sqrt((Ctot - Rtot - Kss)^2 + 4 Kss Ctot)) / 2
    Ctot' = ... - CL/V1 C - kint (Ctot - C)
    Rtot' = ksyn - kdeg Rtot - (kint - kdeg) (Ctot - C)

Sources: Mager & Jusko 2001, doi:10.1023/A:1014414520282 (full); Gibiansky, Gibiansky, Kakkar & Ma 2008,
doi:10.1007/s10928-008-9102-8 (QSS).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import jax.numpy as jnp

from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.input_functions import InputFunction
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Adaptive, Solver

STIFF = Adaptive("rodas5p")


@cache
def target_mediated(
    size: Literal[1, 2, 3] = 1,
    absorption: Literal["none", "first_order"] = "none",
    *,
    input_function: InputFunction | None = None,
    solver: Solver | None = None,
) -> ODE:
    """The full model; doses in molar units. CL, V1, (Q2, V2, ..., ka), kon, koff, kint, ksyn, kdeg.

    Outputs: central (free drug), total (drug), target (free), complex.
    """
    pk = Disposition(size, absorption)

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        bound = p.kon * pk.concentration(p, x) * x.target - p.koff * x.complex
        drug = pk(p, x)
        drug["central"] = drug["central"] - p.V1 * bound
        return drug | {
            "target": p.ksyn - p.kdeg * x.target - bound,
            "complex": bound - p.kint * x.complex,
        }

    return ODE(
        slopes,
        (*pk.compartments, "target", "complex"),
        {
            "central": "central/V1",
            "total": lambda p, x: x.central / p.V1 + x.complex,
            "target": "target",
            "complex": "complex",
        },
        {"target": "ksyn/kdeg"},
        input_function=input_function,
        solver=solver or STIFF,
    )


@cache
def target_mediated_qss(
    size: Literal[1, 2, 3] = 1,
    absorption: Literal["none", "first_order"] = "none",
    *,
    input_function: InputFunction | None = None,
    solver: Solver | None = None,
) -> ODE:
    """The quasi-steady-state model. As the full one, with Kss in the place of kon and koff.

    The amount in `central` is that of the total drug, Ctot V1. Outputs: central (free drug), total (drug),
    target (free), complex.
    """
    pk = Disposition(size, absorption)

    def free(p: Any, x: Any) -> Any:
        total = x.central / p.V1
        excess = total - x.target - p.Kss
        root = jnp.sqrt(excess**2 + 4 * p.Kss * total)
        # the same root of the quadratic, each form where it does not cancel
        low = excess < 0
        below = jnp.where(low, root - excess, 1.0)
        return jnp.where(low, 2 * p.Kss * total / below, (excess + root) / 2)

    def slopes(t: Any, x: Any, p: Any) -> dict[str, Any]:
        C = free(p, x)
        bound = x.central / p.V1 - C
        unbound = type(x)(**{**vars(x), "central": C * p.V1})
        drug = pk(p, unbound)
        drug["central"] = drug["central"] - p.kint * bound * p.V1
        return drug | {"target": p.ksyn - p.kdeg * x.target - (p.kint - p.kdeg) * bound}

    return ODE(
        slopes,
        (*pk.compartments, "target"),
        {
            "central": free,
            "total": "central/V1",
            "target": lambda p, x: x.target - x.central / p.V1 + free(p, x),
            "complex": lambda p, x: x.central / p.V1 - free(p, x),
        },
        {"target": "ksyn/kdeg"},
        input_function=input_function,
        solver=solver or STIFF,
    )
