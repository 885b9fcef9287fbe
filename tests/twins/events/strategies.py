"""Random patients: records of every kind, doses by every way, parameters that change from record to record.

Times, intervals and some lags lie on a grid of 1/8 h, so that events often coincide exactly; other lags and
durations do not. A model here has no numbers of its own: every parameter is a covariate column of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dosetwin.twins.data.subject import Codes, Subject, Values
from dosetwin.twins.models.structure import Structure
from dosetwin.twins.population_model import Additive, Interpolation, Observed, Parameter, PopulationModel

from . import oracle

RECORDS, DOSES, MORE = 10, 5, 3
"""A subject has at most so many records, so many of them doses, each with so many additional ones."""
OVERLAP = 3
"""An infusion given by its rate or duration lasts at most so many intervals."""
GAPS = (0.0, 0.0, 0.0, 0.125, 0.5, 1.0, 2.5, 4.0, 8.0, 12.0, 24.0, 31.25)
INTERVALS = (2.0, 4.0, 6.0, 8.0, 12.0, 24.0)
LAGS = (0.0, 0.0, 0.25, 0.5, 1.5, 0.731, 1.873)
"""All below the shortest interval."""
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "CL": (0.5, 20.0),
        "V1": (5.0, 60.0),
        "Q2": (0.5, 15.0),
        "V2": (5.0, 120.0),
        "Q3": (0.2, 8.0),
        "V3": (10.0, 250.0),
        "ka": (0.15, 4.0),
        "Vmax": (40.0, 120.0),
        "Km": (2.0, 8.0),
        "kin": (1.0, 20.0),
        "kout": (0.2, 1.0),
        "IC50": (0.5, 10.0),
    }
)


@dataclass(frozen=True)
class Case:
    """A subject and the parameters of each of its records."""

    subject: Subject
    rows: tuple[dict[str, float], ...]


def names_of(structure: Structure) -> tuple[str, ...]:
    """Every parameter the structure can take: the required ones, and F, lag, D, R of every way in."""
    ways = [
        name
        for compartment in structure.compartments
        for way in structure.inputs.get(compartment, ())
        for name in (way.fraction, way.lag, way.duration, way.rate)
    ]
    return tuple(dict.fromkeys([*structure.required, *ways]))


def model_of(
    structure: Structure, interpolation: Interpolation = "next_value_backward", output: Any = ""
) -> PopulationModel:
    """The structure with every parameter read from the data column of its name."""

    def column(name: str) -> Any:
        return lambda c: getattr(c, name)

    return PopulationModel(
        structure=structure,
        parameters=tuple(
            Parameter(name, 1.0, "", covariates=column(name), absolute=True) for name in names_of(structure)
        ),
        observed=Observed("amount", "", Additive(1.0), output=output),
        source="made up",
        interpolation=interpolation,
    )


def system_of(structure: Structure, rhs: oracle.RightHandSide, observe: Any, **more: Any) -> oracle.System:
    """The oracle's description of the same structure: its own equations, the structure's ways in."""
    names = structure.compartments
    return oracle.System(
        len(names),
        rhs,
        observe,
        {
            i: tuple(
                oracle.Way(
                    names.index(w.compartment), w.fraction, w.lag, w.duration, w.rate, zero_order=w.zero_order
                )
                for w in structure.inputs[name]
            )
            for i, name in enumerate(names, start=1)
            if structure.inputs.get(name)
        },
        names.index(structure.dose_compartment) + 1,
        **more,
    )


@st.composite
def parameter_sets(draw: st.DrawFn, structure: Structure) -> dict[str, float]:
    """One set of parameters."""
    values = {}
    for name in names_of(structure):
        kind = name.split("_", maxsplit=1)[0]
        if name in RANGES:
            low, high = RANGES[name]
            share = draw(st.floats(0.0, 1.0))
            values[name] = low * (high / low) ** share
        elif kind == "F":
            values[name] = draw(st.sampled_from((1.0, 0.5, 0.37, 1.4)))
        elif kind == "lag":
            values[name] = draw(st.sampled_from(LAGS))
        elif kind == "D":
            values[name] = draw(st.sampled_from((0.5, 1.0, 2.25, 3.7, 6.0)))
        elif kind == "R":
            values[name] = draw(st.sampled_from((40.0, 100.0, 33.3)))
        else:
            raise AssertionError(f"no range of {name}")
    return values


@st.composite
def doses(draw: st.DrawFn, compartments: int, most: float) -> dict[str, float]:
    """A dose: by bolus, given rate, given duration, modelled rate or duration; single, repeated, steady."""
    kind = draw(st.sampled_from(("bolus", "bolus", "rate", "duration", "-1", "-2")))
    interval = draw(st.sampled_from(INTERVALS[-2:] if most else INTERVALS))
    steady = draw(st.sampled_from((0, 0, 1, 2)))
    additional = draw(st.integers(0, MORE))
    amount = draw(st.sampled_from((10.0, 50.0, 100.0))) * (1.0 if not steady else interval / 24)
    if steady and most:
        amount = min(amount, most * interval)
    length = draw(
        st.sampled_from((0.25, 1.0, 0.777, 0.5 * interval, interval, 1.5 * interval, 2.8 * interval))
    )
    cmt = draw(st.integers(0, compartments))
    dose = {
        "amount": amount,
        "rate": {"rate": amount / length, "-1": -1.0, "-2": -2.0}.get(kind, 0.0),
        "duration": length if kind == "duration" else 0.0,
        "compartment": cmt,
        "steady_state": steady,
        "interval": interval if steady or additional else 0.0,
        "additional": additional,
    }
    if steady and kind in ("rate",) + ("-1",) * (not most) and draw(st.integers(0, 3)) == 0:
        dose.update(amount=0.0, interval=0.0, additional=0, rate=-1.0 if kind == "-1" else 5.0)
    return dose


@st.composite
def cases(
    draw: st.DrawFn,
    structure: Structure,
    *,
    varying: bool = True,
    most: float = 0.0,
) -> Case:
    """A subject with up to RECORDS records; the last one is an observation.

    `varying`: parameters may change between records. `most`: the highest mean rate of steady-state doses,
    for a saturable elimination (0: no limit).
    """
    sets = draw(st.lists(parameter_sets(structure), min_size=1, max_size=3 if varying else 1))
    size = draw(st.integers(2, RECORDS))
    columns: dict[str, list[float]] = {}
    rows, time, given = [], 0.0, 0
    for i in range(size):
        kinds = (0, 0, 0, 1, 1, 1, 2, 3, 4) if given < DOSES else (0, 2, 3)
        evid = (
            0 if i == size - 1 else draw(st.sampled_from(kinds)) if i else draw(st.sampled_from((1, 1, 4, 0)))
        )
        time += draw(st.sampled_from(GAPS)) if i else 0.0
        if i and evid in (3, 4) and draw(st.booleans()):
            time = draw(st.sampled_from((0.0, 3.0)))
        record: dict[str, float] = {"time": time, "evid": evid}
        if evid in (1, 4):
            given += 1
            record |= draw(doses(len(structure.compartments), most))
        for name in (
            "time",
            "evid",
            "amount",
            "rate",
            "duration",
            "compartment",
            "steady_state",
            "interval",
            "additional",
        ):
            columns.setdefault(name, []).append(record.get(name, 0.0))
        rows.append(dict(draw(st.sampled_from(sets))))
    return case(columns, rows)


def case(columns: Mapping[str, list[float]], rows: list[dict[str, float]], id: str = "1") -> Case:
    """A subject from its columns and the parameters of its records."""
    R = len(rows)

    def real(name: str) -> Values:
        return np.array(columns.get(name, [0.0] * R), np.float64)

    def whole(name: str) -> Codes:
        return real(name).astype(np.int64)

    missing = np.full(R, np.nan)
    return Case(
        Subject(
            id=id,
            dv=missing,
            lower=missing,
            censored=np.zeros(R, np.int64),
            output=np.zeros(R, np.int64),
            occasion=np.ones(R, np.int64),
            row=np.arange(1, R + 1),
            covariates=MappingProxyType({n: np.array([row[n] for row in rows]) for n in rows[0]}),
            time=real("time"),
            evid=whole("evid"),
            amount=real("amount"),
            rate=real("rate"),
            duration=real("duration"),
            compartment=whole("compartment"),
            steady_state=whole("steady_state"),
            interval=real("interval"),
            additional=whole("additional"),
        ),
        tuple(rows),
    )


def largest(structure: Structure) -> Case:
    """A subject with more events than any drawn one: beside it every batch has one shape, compiled once."""
    row = {name: (RANGES[name][0] * RANGES[name][1]) ** 0.5 for name in structure.required if name in RANGES}
    row |= {name: 0.0 if name.startswith("lag") else 1.0 for name in names_of(structure) if name not in row}
    dose = {
        "evid": 1.0,
        "amount": 2.0 * OVERLAP,
        "rate": 1.0,
        "steady_state": 1.0,
        "interval": 2.0,
        "additional": float(MORE),
    }
    columns: dict[str, list[float]] = {}
    rows = []
    for i in range(RECORDS + DOSES):
        record = {"time": 100.0 * i} | (dose if i < DOSES else {"evid": 0.0})
        for name in ("time", *dose):
            columns.setdefault(name, []).append(record.get(name, 0.0))
        # no two neighbours alike, so that there are as many rows of parameters as records
        rows.append({name: v + 0.5 * (i % 2) * (name in structure.required) for name, v in row.items()})
    return case(columns, rows, id="largest")
