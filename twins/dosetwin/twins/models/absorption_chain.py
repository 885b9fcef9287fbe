"""Absorption through a whole number of equal stages (Erlang), and two processes in parallel (mixed).

Erlang: depot -> transit_1 -> ... -> transit_n -> central, every step with rate constant ktr; the absorption
time has an Erlang distribution of n + 1 stages, mean (n + 1)/ktr. For n that is estimated: `SavicTransit`.
Mixed: a share F_first of the dose through a depot (ka), a share F_zero at a constant rate over D.

Sources: Rousseau, Leger, Le Meur, Saint-Marcoux, Paintaud, Buchler & Marquet 2004,
doi:10.1097/00007691-200402000-00006 (Erlang in population models); Holford, Ambros & Stoeckel 1992,
J Pharmacokinet Biopharm 20:421 (parallel first- and zero-order absorption).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Literal

from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.equations import Rate
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.linear_system import LinearSystem
from dosetwin.twins.models.structure import Input


@cache
def erlang_absorption(stages: int, size: Literal[1, 2, 3] = 1, *, first_order: bool = False) -> LinearSystem:
    """`stages` transit compartments after the depot; ktr, CL, V1, ...

    first_order: the last transit compartment empties with ka instead of ktr.
    """
    if stages < 1:
        raise ModelError(f"found {stages} transit compartments; expected 1 or more")
    pk = Disposition(size)
    chain = ("depot", *(f"transit_{i + 1}" for i in range(stages)))
    flows: dict[tuple[str, str], Rate] = dict.fromkeys(pairwise(chain), "ktr")
    flows[chain[-1], "central"] = "ka" if first_order else "ktr"
    return LinearSystem((*chain, *pk.compartments), {**flows, **pk.flows}, pk.outputs)


@cache
def mixed_absorption(size: Literal[1, 2, 3] = 1) -> LinearSystem:
    """A dose into the depot enters both ways: F_first, lag_first, ka; F_zero, lag_zero, D.

    F_first and F_zero are shares of the dose (bioavailability included) and must be defined; the usual way
    is F_first = Fr and F_zero = 1 - Fr, as dependent parameters. The lags default to 0.
    """
    pk = Disposition(size, "first_order")
    linear = LinearSystem(pk.compartments, pk.flows, pk.outputs)
    return LinearSystem(
        pk.compartments,
        pk.flows,
        pk.outputs,
        inputs={
            "depot": (
                Input("depot", "F_first", "lag_first", "D_first", "R_first"),
                Input("central", "F_zero", "lag_zero", "D", "R", zero_order=True),
            )
        },
        required=(*linear.required, "F_first", "F_zero", "D"),
    )
