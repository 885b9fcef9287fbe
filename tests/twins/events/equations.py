"""Right-hand sides written from the textbook, for the oracle alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .oracle import Row, Vector


def mammillary(size: int, depot: bool) -> Callable[[float, Vector, Row], Vector]:
    """One to three compartments with clearance from the first; an absorption compartment before it."""

    def rhs(t: float, x: Vector, p: Row) -> Vector:
        c = x[1:] if depot else x
        dx = np.zeros_like(x)
        d = dx[1:] if depot else dx
        d[0] = -p["CL"] / p["V1"] * c[0]
        for k, (flow, volume) in enumerate((("Q2", "V2"), ("Q3", "V3"))[: size - 1], start=1):
            exchange = p[flow] * (c[0] / p["V1"] - c[k] / p[volume])
            d[0] -= exchange
            d[k] += exchange
        if depot:
            dx[0] = -p["ka"] * x[0]
            d[0] += p["ka"] * x[0]
        return dx

    return rhs


def concentrations(size: int, depot: bool) -> Callable[[float, Vector, Row], Vector]:
    """Amounts by volumes, the central compartment first."""

    def observe(t: float, x: Vector, p: Row) -> Vector:
        volumes = np.array([p[name] for name in ("V1", "V2", "V3")[:size]])
        return np.asarray(x[1 if depot else 0 :] / volumes, np.float64)

    return observe


def michaelis_menten(t: float, x: Vector, p: Mapping[str, float]) -> Vector:
    """dA/dt = -Vmax C / (Km + C), C = A / V1, after a depot; Vmax in amount/h."""
    c = x[1] / p["V1"]
    return np.array([-p["ka"] * x[0], p["ka"] * x[0] - p["Vmax"] * c / (p["Km"] + c)])


def inhibited_production(t: float, x: Vector, p: Row) -> Vector:
    """dA/dt = -CL C, dR/dt = kin (1 - C / (IC50 + C)) - kout R."""
    c = x[0] / p["V1"]
    return np.array([-p["CL"] * c, p["kin"] * (1 - c / (p["IC50"] + c)) - p["kout"] * x[1]])
