"""The ready structures through the engine, under real schedules, against the slow simulator of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.models.absorbed_linear import AbsorbedLinear
from dosetwin.twins.models.absorption_chain import mixed_absorption
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.direct_effect import direct_effect
from dosetwin.twins.models.input_functions import SavicTransit
from dosetwin.twins.models.linear_system import LinearSystem
from dosetwin.twins.models.turnover import ACTIONS
from dosetwin.twins.population_model import Additive, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.simulation.prediction import predict
from tests.twins.events import oracle

from .families import (
    Case,
    effect_case,
    friberg_case,
    kpd_case,
    metabolite_case,
    qss_case,
    response_case,
    saturable_case,
    target_case,
)

LOOKED_AT = (0.0, 0.5, 3.0, 11.9, 12.0, 20.0, 30.0, 31.0, 36.0, 60.0, 71.0)


def schedule(compartments: int) -> pd.DataFrame:
    """Doses every 12 h, an infusion, a bolus into the last compartment, a reset and a dose after it."""
    rows = [(0.0, 1, 100.0, 0.0, 0, 12.0, 2), (30.0, 1, 40.0, 20.0, 0, 0.0, 0)]
    rows += [(31.0, 1, 5.0, 0.0, compartments, 0.0, 0), (60.0, 3, 0.0, 0.0, 0, 0.0, 0)]
    rows += [(60.5, 1, 50.0, 0.0, 0, 0.0, 0)]
    rows += [(t, 0, 0.0, 0.0, 0, 0.0, 0) for t in LOOKED_AT]
    rows.sort(key=lambda row: row[0])
    names = ("TIME", "EVID", "AMT", "RATE", "CMT", "II", "ADDL")
    return pd.DataFrame(rows, columns=names).assign(ID=1, DV=np.nan)


def population(structure: Any, p: dict[str, float], output: Any = "") -> PopulationModel:
    """All parameters as they are; the first varies, so that there is an eta."""
    parameters = tuple(
        Parameter(name, value, "1", LogNormal(0.09) if i == 0 else None)
        for i, (name, value) in enumerate(p.items())
    )
    seen = Observed("level", "1", Additive(0.1), output)
    return PopulationModel(structure, parameters, seen, source="a test")


def check(case: Case, limit: float) -> None:
    names = case.structure.compartments
    system = oracle.System(
        size=len(names),
        rhs=lambda t, x, p: np.array(case.slopes(x, p)),
        observe=lambda t, x, p: np.array(case.seen(x, p)),
        ways={
            i + 1: tuple(
                oracle.Way(names.index(w.compartment), w.fraction, w.lag, w.duration, w.rate, w.zero_order)
                for w in case.structure.inputs[name]
            )
            for i, name in enumerate(names)
        },
        default=names.index(case.structure.dose_compartment) + 1,
        initial=lambda p: np.array(case.initial(p), float),
        method="Radau" if "kon" in case.p else "DOP853",
    )
    (subject,) = read_nonmem(schedule(len(names)), covariates=())
    truth, _ = oracle.simulate(system, subject, [dict(case.p)] * len(subject.time))
    found = predict(population(case.structure, dict(case.p)), [subject])[0]
    expected = truth[:, 0]
    assert np.abs(found - expected).max() < limit * np.abs(expected).max()


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (metabolite_case, 1e-9),
        (saturable_case, 1e-6),
        pytest.param(effect_case, 1e-9, marks=pytest.mark.slow),
        pytest.param(friberg_case, 1e-6, marks=pytest.mark.slow),
        pytest.param(kpd_case, 1e-6, marks=pytest.mark.slow),
        pytest.param(target_case, 1e-6, marks=pytest.mark.slow),
        pytest.param(qss_case, 1e-6, marks=pytest.mark.slow),
        *[
            pytest.param(lambda kind=kind: response_case(kind), 1e-6, marks=pytest.mark.slow)
            for kind in ACTIONS
        ],
    ],
)
def test_families_through_the_engine(make: Callable[[], Case], limit: float) -> None:
    check(make(), limit)


def test_mixed_absorption_through_the_engine() -> None:
    """Both processes with their lags; the slow simulator is told the two ways in."""
    p = {"CL": 2.0, "V1": 20.0, "ka": 0.8, "D": 3.0, "F_first": 0.6, "F_zero": 0.3}
    p |= {"lag_first": 1.0, "lag_zero": 0.25}
    check(
        Case(
            mixed_absorption(),
            p,
            {},
            lambda x, p: [-p["ka"] * x[0], p["ka"] * x[0] - p["CL"] / p["V1"] * x[1]],
            lambda p: [0.0, 0.0],
            lambda x, p: [x[1] / p["V1"]],
        ),
        1e-9,
    )


def test_savic_through_the_engine() -> None:
    """With 3 whole stages it is a chain of four compartments, which the engine advances exactly."""
    ours = {"CL": 2.0, "V1": 20.0, "ka": 0.8, "n": 3.0, "MTT": 2.0, "lag": 0.4, "F": 0.8}
    chain = LinearSystem(
        ("a", "b", "c", "d", "depot", "central"),
        {
            ("a", "b"): "k",
            ("b", "c"): "k",
            ("c", "d"): "k",
            ("d", "depot"): "k",
            ("depot", "central"): "ka",
            ("central", "out"): "CL/V1",
        },
        {"central": "central/V1"},
    )
    records = schedule(0).query("RATE == 0")
    (subject,) = read_nonmem(records, covariates=())
    same = {"CL": 2.0, "V1": 20.0, "ka": 0.8, "k": 2.0, "lag": 0.4, "F": 0.8}
    expected = predict(population(chain, same), [subject])[0]
    function = AbsorbedLinear(one_compartment("first_order"), SavicTransit())
    found = predict(population(function, ours), [subject])[0]
    assert np.abs(found - expected).max() < 1e-8 * expected.max()


def test_a_direct_effect_of_the_effect_compartment() -> None:
    """E0 (1 + sigmoid Emax of Ce), as `Observed.output`."""
    case = effect_case()
    extra = {"E0": 80.0, "Emax": 0.5, "EC50": 2.0, "hill": 3.0}
    records = schedule(2)
    (subject,) = read_nonmem(records, covariates=())
    effect = direct_effect("effect", "sigmoid", combined="proportional")
    found = predict(population(case.structure, dict(case.p) | extra, effect), [subject])[0]
    Ce = predict(population(case.structure, dict(case.p), "effect"), [subject])[0]
    expected = 80 * (1 + 0.5 * Ce**3 / (2.0**3 + Ce**3))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
