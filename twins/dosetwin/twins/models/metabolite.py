"""A parent drug and its metabolite: a fraction fm of the parent's clearance forms it.

    parent'     = ... - CL C
    metabolite' = fm CL C - CLm metabolite / Vm

Amounts count in the same molar (or parent-equivalent) unit. With oral data fm and Vm are known only as a
ratio: fix one. Source: Gabrielsson & Weiner, Pharmacokinetic and Pharmacodynamic Data Analysis, 5th ed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.linear_system import LinearSystem


def _formed(p: Any) -> Any:
    return p.fm * p.CL / p.V1


def _otherwise(p: Any) -> Any:
    return (1 - p.fm) * p.CL / p.V1


@cache
def parent_metabolite(
    size: Literal[1, 2, 3] = 1, absorption: Literal["none", "first_order"] = "none"
) -> LinearSystem:
    """Outputs `central` and `metabolite`; parameters CL, V1, (Q2, V2, Q3, V3, ka), fm, CLm, Vm."""
    pk = Disposition(size, absorption)
    flows = {**pk.flows, ("central", "out"): _otherwise, ("central", "metabolite"): _formed}
    return LinearSystem(
        (*pk.compartments, "metabolite"),
        {**flows, ("metabolite", "out"): "CLm/Vm"},
        {**pk.outputs, "metabolite": "metabolite/Vm"},
    )
