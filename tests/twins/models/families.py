"""The ready structures as cases: parameters, doses, and the equations written again for SciPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dosetwin.twins.models.absorption_chain import erlang_absorption
from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.effect_compartment import effect_compartment
from dosetwin.twins.models.friberg import myelosuppression
from dosetwin.twins.models.kinetic_pharmacodynamic import kinetic_pharmacodynamic
from dosetwin.twins.models.metabolite import parent_metabolite
from dosetwin.twins.models.michaelis_menten import michaelis_menten
from dosetwin.twins.models.ode_solvers import FixedStep
from dosetwin.twins.models.target_mediated import target_mediated, target_mediated_qss
from dosetwin.twins.models.turnover import indirect_response

from .oracle import Values, scipy_amounts

TIMES = (0.0, 0.1, 1.0, 5.0, 24.0, 72.0)
ONE = {"CL": 2.0, "V1": 20.0}
TWO = ONE | {"Q2": 5.0, "V2": 40.0}
ORAL = Disposition(1, "first_order")
STEP = FixedStep(0.02)


@dataclass(frozen=True)
class Case:
    """A structure, its parameters, doses at time 0, and the same written for SciPy."""

    structure: Any
    p: Mapping[str, float]
    doses: Mapping[str, float]
    slopes: Callable[[Any, Any], Any]
    """(x, p) -> derivatives; p a dictionary."""
    initial: Callable[[Any], list[float]]
    seen: Callable[[Any, Any], list[Any]]
    """(x [n, times], p) -> outputs."""
    rates: Mapping[str, float] = field(default_factory=dict)
    limit: float = 1e-6

    def expected(self) -> Values:
        p = dict(self.p)
        start = np.array(self.initial(p), float)
        inflow = np.zeros_like(start)
        for name, amount in self.doses.items():
            start[self.structure.compartments.index(name)] += amount
        for name, rate in self.rates.items():
            inflow[self.structure.compartments.index(name)] += rate
        stiff: Literal["Radau", "LSODA"] = "Radau" if "kon" in p else "LSODA"
        x = scipy_amounts(lambda t, x: np.array(self.slopes(x, p)) + inflow, start, TIMES, stiff)
        return np.stack([np.asarray(y) for y in self.seen(x.T, p)], axis=1)


def _one(x: Any, p: Any) -> Any:
    return -p["CL"] / p["V1"] * x


def _indirect(kind: str) -> Callable[[Any, Any], list[Any]]:
    def slopes(x: Any, p: Any) -> list[Any]:
        C = x[1] / p["V1"]
        up = C / (p.get("EC50", 1) + C) * p.get("Emax", 0)
        down = C / (p.get("IC50", 1) + C) * p.get("Imax", 0)
        making = p["kin"] * {"inhibit_input": 1 - down, "stimulate_input": 1 + up}.get(kind, 1)
        loss = p["kout"] * {"inhibit_loss": 1 - down, "stimulate_loss": 1 + up}.get(kind, 1)
        return [-p["ka"] * x[0], p["ka"] * x[0] + _one(x[1], p), making - loss * x[2]]

    return slopes


def _tmdd(x: Any, p: Any) -> list[Any]:
    C, R, RC = x[0] / p["V1"], x[2], x[3]
    bind = p["kon"] * C * R - p["koff"] * RC
    k12, k21 = p["Q2"] / p["V1"], p["Q2"] / p["V2"]
    return [
        -p["CL"] * C - p["V1"] * bind - k12 * x[0] + k21 * x[1],
        k12 * x[0] - k21 * x[1],
        p["ksyn"] - p["kdeg"] * R - bind,
        bind - p["kint"] * RC,
    ]


def _qss_free(total: Any, target: Any, Kss: float) -> Any:
    b = total - target - Kss
    return (b + np.sqrt(b * b + 4 * Kss * total)) / 2


def _qss(x: Any, p: Any) -> list[Any]:
    total, R = x[0] / p["V1"], x[1]
    C = _qss_free(total, R, p["Kss"])
    complex_ = R * C / (p["Kss"] + C)  # the same quantity in Gibiansky's other form
    return [
        -p["CL"] * C - p["kint"] * complex_ * p["V1"],
        p["ksyn"] - p["kdeg"] * R - (p["kint"] - p["kdeg"]) * complex_,
    ]


def _friberg(x: Any, p: Any) -> list[Any]:
    C, k = x[0] / p["V1"], 4 / p["MTT"]
    grow = k * x[1] * (1 - p["slope"] * C) * (p["Circ0"] / x[5]) ** p["gamma"]
    return [
        _one(x[0], p),
        grow - k * x[1],
        k * (x[1] - x[2]),
        k * (x[2] - x[3]),
        k * (x[3] - x[4]),
        k * (x[4] - x[5]),
    ]


def _kpd(x: Any, p: Any) -> list[Any]:
    IR = p["KDE"] * x[0]
    H = p["Imax"] * IR ** p["hill"] / (p["EDK50"] ** p["hill"] + IR ** p["hill"])
    return [-IR, p["kin"] * (1 - H) - p["kout"] * x[1]]


TMDD = {"CL": 0.3, "V1": 3.0, "Q2": 0.2, "V2": 4.0} | {
    "kon": 90.0,
    "koff": 0.5,
    "kint": 0.08,
    "ksyn": 0.6,
    "kdeg": 0.2,
}
QSS = {"CL": 0.3, "V1": 3.0, "Kss": 0.02, "kint": 0.08, "ksyn": 0.6, "kdeg": 0.2}
FRIBERG = ONE | {"Circ0": 5.0, "MTT": 110.0, "gamma": 0.17, "slope": 0.3}
TURNOVER = ONE | {"ka": 0.8, "kin": 3.0, "kout": 0.2}


def response_case(kind: str, solver: Any = STEP) -> Case:
    drug = {"Imax": 0.9, "IC50": 1.1} if kind.startswith("inhibit") else {"Emax": 2.0, "EC50": 1.1}
    return Case(
        indirect_response(kind, ORAL, solver=solver),
        TURNOVER | drug,
        {"depot": 100.0, "response": 2.0},
        _indirect(kind),
        lambda p: [0.0, 0.0, p["kin"] / p["kout"]],
        lambda x, p: [x[2], x[1] / p["V1"]],
        {"central": 1.0},
    )


def saturable_case(solver: Any = STEP) -> Case:
    return Case(
        michaelis_menten(2, "first_order", mixed=True, solver=solver),
        TWO | {"ka": 0.8, "Vmax": 6.0, "Km": 0.7},
        {"depot": 100.0, "central": 30.0, "peripheral": 10.0},
        lambda x, p: [
            -p["ka"] * x[0],
            p["ka"] * x[0]
            - (p["CL"] + p["Vmax"] / (p["Km"] + x[1] / p["V1"]) + p["Q2"]) * x[1] / p["V1"]
            + p["Q2"] * x[2] / p["V2"],
            p["Q2"] * x[1] / p["V1"] - p["Q2"] * x[2] / p["V2"],
        ],
        lambda p: [0.0, 0.0, 0.0],
        lambda x, p: [x[1] / p["V1"]],
        {"central": 4.0},
    )


def target_case(solver: Any = None) -> Case:
    return Case(
        target_mediated(2, solver=solver),
        TMDD,
        {"central": 30.0, "target": 0.5},
        _tmdd,
        lambda p: [0.0, 0.0, p["ksyn"] / p["kdeg"], 0.0],
        lambda x, p: [x[0] / p["V1"], x[0] / p["V1"] + x[3], x[2], x[3]],
    )


def qss_case(solver: Any = None) -> Case:
    return Case(
        target_mediated_qss(1, solver=solver),
        QSS,
        {"central": 30.0},
        _qss,
        lambda p: [0.0, p["ksyn"] / p["kdeg"]],
        lambda x, p: [
            _qss_free(x[0] / p["V1"], x[1], p["Kss"]),
            x[0] / p["V1"],
            x[1] - x[0] / p["V1"] + _qss_free(x[0] / p["V1"], x[1], p["Kss"]),
            x[0] / p["V1"] - _qss_free(x[0] / p["V1"], x[1], p["Kss"]),
        ],
    )


def friberg_case(solver: Any = STEP) -> Case:
    return Case(
        myelosuppression(solver=solver),
        FRIBERG,
        {"central": 80.0},
        _friberg,
        lambda p: [0.0, *[p["Circ0"]] * 5],
        lambda x, p: [x[5], x[0] / p["V1"]],
    )


def kpd_case(solver: Any = STEP) -> Case:
    return Case(
        kinetic_pharmacodynamic("inhibit_input", sigmoid=True, solver=solver),
        {"KDE": 0.1, "EDK50": 2.0, "kin": 3.0, "kout": 0.2, "Imax": 1.0, "hill": 2.3},
        {"dose": 100.0},
        _kpd,
        lambda p: [0.0, p["kin"] / p["kout"]],
        lambda x, p: [x[1], p["KDE"] * x[0]],
    )


def metabolite_case() -> Case:
    return Case(
        parent_metabolite(1, "first_order"),
        ONE | {"ka": 0.8, "fm": 0.4, "CLm": 1.0, "Vm": 7.0},
        {"depot": 100.0, "metabolite": 3.0},
        lambda x, p: [
            -p["ka"] * x[0],
            p["ka"] * x[0] + _one(x[1], p),
            -p["fm"] * _one(x[1], p) - p["CLm"] / p["Vm"] * x[2],
        ],
        lambda p: [0.0, 0.0, 0.0],
        lambda x, p: [x[1] / p["V1"], x[2] / p["Vm"]],
        limit=1e-9,
    )


def effect_case() -> Case:
    return Case(
        effect_compartment(2),
        TWO | {"ke0": 0.3},
        {"central": 100.0},
        lambda x, p: [
            _one(x[0], p) - p["Q2"] / p["V1"] * x[0] + p["Q2"] / p["V2"] * x[1],
            p["Q2"] / p["V1"] * x[0] - p["Q2"] / p["V2"] * x[1],
            p["ke0"] * (x[0] - x[2]),
        ],
        lambda p: [0.0, 0.0, 0.0],
        lambda x, p: [x[0] / p["V1"], x[2] / p["V1"]],
        {"central": 4.0},
        limit=1e-9,
    )


def erlang_case() -> Case:
    return Case(
        erlang_absorption(3, first_order=True),
        ONE | {"ktr": 2.0, "ka": 0.5},
        {"depot": 100.0},
        lambda x, p: [
            -p["ktr"] * x[0],
            p["ktr"] * (x[0] - x[1]),
            p["ktr"] * (x[1] - x[2]),
            p["ktr"] * x[2] - p["ka"] * x[3],
            p["ka"] * x[3] + _one(x[4], p),
        ],
        lambda p: [0.0] * 5,
        lambda x, p: [x[4] / p["V1"]],
        limit=1e-9,
    )
