"""The ready structures against SciPy, each with its equations written again here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dosetwin.twins.models.absorption_chain import erlang_absorption, mixed_absorption
from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.effect_compartment import effect_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.friberg import myelosuppression
from dosetwin.twins.models.kinetic_pharmacodynamic import virtual_infusion
from dosetwin.twins.models.metabolite import parent_metabolite
from dosetwin.twins.models.michaelis_menten import michaelis_menten
from dosetwin.twins.models.numerical_error import numerical_error
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Adaptive, FixedStep
from dosetwin.twins.models.target_mediated import target_mediated, target_mediated_qss
from dosetwin.twins.models.turnover import indirect_response

from .families import (
    ORAL,
    QSS,
    TIMES,
    Case,
    effect_case,
    erlang_case,
    friberg_case,
    kpd_case,
    metabolite_case,
    qss_case,
    response_case,
    saturable_case,
    target_case,
)
from .oracle import error_to_peak, outputs

pytestmark = pytest.mark.usefixtures("double")
FAST: dict[str, Callable[[], Case]] = {
    "michaelis-menten": saturable_case,
    "tmdd": target_case,
    "friberg": friberg_case,
    "k-pd": kpd_case,
    "metabolite": metabolite_case,
    "effect compartment": effect_case,
    "erlang": erlang_case,
    "inhibit_input": lambda: response_case("inhibit_input"),
    "inhibit_loss": lambda: response_case("inhibit_loss"),
    "stimulate_input": lambda: response_case("stimulate_input"),
    "stimulate_loss": lambda: response_case("stimulate_loss"),
}
ADAPTIVE: dict[str, Callable[[], Case]] = {
    "tmdd, kvaerno5": lambda: target_case(Adaptive("kvaerno5")),
    "qss": qss_case,
    "qss, kvaerno5": lambda: qss_case(Adaptive("kvaerno5")),
    "michaelis-menten, tsit5": lambda: saturable_case(None),
    "friberg, tsit5": lambda: friberg_case(None),
    "k-pd, tsit5": lambda: kpd_case(None),
    "inhibit_loss, tsit5": lambda: response_case("inhibit_loss", None),
}


@pytest.mark.parametrize("name", FAST)
def test_families_agree_with_scipy(name: str) -> None:
    case = FAST[name]()
    found = outputs(case.structure, case.p, TIMES, case.doses, case.rates)
    assert error_to_peak(found, case.expected()) < case.limit


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTIVE)
def test_families_agree_with_scipy_by_their_adaptive_solvers(name: str) -> None:
    case = ADAPTIVE[name]()
    found = outputs(case.structure, case.p, TIMES, case.doses, case.rates)
    assert error_to_peak(found, case.expected()) < case.limit


def test_a_response_without_drug_stays_at_its_baseline() -> None:
    for case in (response_case("stimulate_loss"), friberg_case(), kpd_case()):
        found = outputs(case.structure, case.p, (10.0, 500.0), {})
        start = np.asarray(case.expected())[0, 0] - case.doses.get("response", 0.0)
        np.testing.assert_allclose(found[:, 0], start, rtol=1e-12)


def test_qss_is_the_limit_of_the_full_model() -> None:
    """With fast binding both give the same free drug (Gibiansky 2008): 1 % here, after the binding phase."""
    full = {**QSS, "kon": 5000.0, "koff": 5000.0 * 0.02 - 0.08}
    del full["Kss"]
    times = (0.5, 2.0, 8.0, 24.0)
    solver = Adaptive("rodas5p", 1e-6, 1e-8)
    slow = outputs(target_mediated(1, solver=solver), full, times, {"central": 30.0})
    quick = outputs(target_mediated_qss(1, solver=solver), QSS, times, {"central": 30.0})
    np.testing.assert_allclose(quick, slow, rtol=0.01, atol=1e-4)


def test_the_same_family_is_the_same_structure() -> None:
    """Compiled functions are found again by their structure."""
    assert myelosuppression() == myelosuppression()
    assert indirect_response("inhibit_input", ORAL) is indirect_response("inhibit_input", ORAL)
    assert hash(parent_metabolite(2)) == hash(parent_metabolite(2))
    assert myelosuppression() != myelosuppression(effect="emax")


def test_required_parameters_are_the_papers() -> None:
    def names(structure: Any) -> set[str]:
        return set(structure.required)

    assert names(target_mediated()) == {"CL", "V1", "kon", "koff", "kint", "ksyn", "kdeg"}
    assert names(target_mediated_qss()) == {"CL", "V1", "Kss", "kint", "ksyn", "kdeg"}
    assert names(myelosuppression(effect="emax")) == {"CL", "V1", "Circ0", "MTT", "gamma", "Emax", "EC50"}
    assert names(michaelis_menten(1)) == {"V1", "Vmax", "Km"}
    assert names(virtual_infusion()) == {"KDE"}
    assert names(mixed_absorption(2)) == {"ka", "CL", "V1", "Q2", "V2", "F_first", "F_zero", "D"}
    assert [way.zero_order for way in mixed_absorption().inputs["depot"]] == [False, True]


def test_the_error_of_a_family_is_reported() -> None:
    case = kpd_case(FixedStep(0.5))
    errors = numerical_error(case.structure, case.p, TIMES, dose=100.0)
    truth = case.expected()
    found = outputs(case.structure, case.p, TIMES, case.doses)
    for i, error in enumerate(errors):
        true = np.abs(found - truth).max(axis=0)[i] / np.abs(truth[:, i]).max()
        assert 0.5 * true - 1e-10 < error.relative_to_peak < 2 * true + 1e-10


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Disposition(4), "4 compartments"),  # type: ignore[arg-type] # the mistake under test
        (lambda: Disposition(1, "oral"), "'oral'"),  # type: ignore[arg-type] # the mistake under test
        (lambda: effect_compartment(1, "zero_order"), "zero_order"),
        (lambda: Disposition(elimination="mixed").flows, "mixed elimination in a linear graph"),
        (lambda: indirect_response("inhibits"), "'inhibits'"),
        (lambda: erlang_absorption(0), "0 transit compartments"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        make()


def test_a_family_takes_another_solver() -> None:
    other = myelosuppression().with_solver(FixedStep(1.0))
    assert isinstance(other, ODE)
    assert other.solver == FixedStep(1.0)
    assert myelosuppression().solver == Adaptive()


def test_the_examples_of_the_documentation_run(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs/models/library.md"
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, {})
    printed = capsys.readouterr().out
    assert "('ka', 'CL', 'V1', 'ke0')" in printed
    assert "response: " in printed
