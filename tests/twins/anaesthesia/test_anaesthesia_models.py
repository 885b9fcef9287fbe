"""Kinetics against the papers' reference values and SciPy; the response surface against plain arithmetic."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from dosetwin.twins.models import anaesthesia_circulation as circulation
from dosetwin.twins.models import anaesthesia_response as response
from dosetwin.twins.models import effect_site_kinetics as kinetics
from dosetwin.twins.models import propofol_eleveld, remifentanil_eleveld
from dosetwin.twins.therapies.remifentanil import ELEVELD_2017

from .simulated_patient import after, kinetics_matrix


def test_the_reference_person_has_the_papers_propofol_values() -> None:
    made = propofol_eleveld.typical_disposition(35, 70, 170, 1, opioids=False)
    assert made[:4] == pytest.approx((6.28, 25.5, 273.0, 1.79))
    # Q2 is 1.75 before the maturation of Q3 is done: 1 + 1.30 (1 - 1860/1928.3) more at 35 years
    assert pytest.approx(1.75 * (1 + 1.30 * 68.3 / 1928.3)) == made.Q2
    assert (made.Q3, made.ke0) == pytest.approx((1.11, 0.146))
    assert propofol_eleveld.half_maximal_ug_mL(35) == pytest.approx(3.08)


def test_propofol_covariates_by_hand() -> None:
    woman = propofol_eleveld.typical_disposition(70, 60, 160, 0)
    assert pytest.approx(6.28 * (60 / 93.6) / (70 / 103.6)) == woman.V1
    assert pytest.approx(25.5 * 60 / 70 * np.exp(-0.0156 * 35)) == woman.V2
    assert pytest.approx(2.10 * (60 / 70) ** 0.75 * np.exp(-0.00286 * 70), rel=1e-6) == woman.CL
    assert woman.ke0 == pytest.approx(0.146 * (60 / 70) ** -0.25)
    assert propofol_eleveld.half_maximal_ug_mL(70) == pytest.approx(3.08 * np.exp(-0.00635 * 35))
    assert propofol_eleveld.index_delay_s(70) == pytest.approx(15 + np.exp(0.0517 * 70))


@pytest.mark.parametrize(
    "person", [(35.0, 70.0, 170.0, 1.0), (28.0, 55.0, 160.0, 0.0), (78.0, 92.0, 181.0, 1.0)]
)
def test_remifentanil_is_the_population_model_of_its_own_therapy(
    person: tuple[float, float, float, float],
) -> None:
    age, weight, height, sex = (np.array(value) for value in person)
    covariates = SimpleNamespace(age=age, weight=weight, height=height, sex=sex)
    made = remifentanil_eleveld.typical_disposition(*person)
    for parameter in ELEVELD_2017.parameters:
        per_min = 60.0 if parameter.name in ("CL", "Q2", "Q3") else 1.0
        factor = 1.0 if parameter.covariates is None else float(parameter.covariates(covariates))
        assert getattr(made, parameter.name) == pytest.approx(parameter.typical * factor / per_min)


@pytest.mark.parametrize("fast", [1.0, 3.0])
def test_steps_are_the_matrix_exponential(fast: float) -> None:
    person = propofol_eleveld.typical_disposition(50, 70, 170, 1)
    V1 = person.V1 / fast
    A = kinetics_matrix(V1, *person[1:6], ke0=0.456, km=0.1)
    k = kinetics.rate_constants(*(jnp.float32(v) for v in (V1, *person[1:6], 0.456, 0.1)))
    state = kinetics.Kinetics(*(jnp.zeros((), jnp.float32) for _ in range(5)))
    expected = np.zeros(5)
    state = kinetics.after_bolus(state, jnp.float32(80.0), k)
    expected[0] += 80.0 / V1
    advance = jax.jit(kinetics.advance)
    for rate, seconds in [(30.0, 20), (0.0, 20), (10.0, 7), (10.0, 20), (0.0, 3)] * 6:
        state = advance(state, jnp.float32(rate), jnp.float32(seconds / 60), k)
        expected = after(A, V1, expected, rate, seconds / 60)
    assert np.array(state) == pytest.approx(expected, rel=2e-4)


def surface(C_p: Array, C_r: Array, alpha: float) -> Array:
    """Bouillon's surface with a synergy."""
    C50_p, C50_r, synergy, gamma, E0 = (jnp.float32(value) for value in (4.47, 19.3, alpha, 1.43, 97.4))
    return response.index(C_p, C_r, C50_p, C50_r, synergy, gamma, E0)


def test_half_the_index_lies_on_a_straight_isobole_without_synergy_and_inside_it_with() -> None:
    at = np.linspace(0, 1, 5)
    C_p, C_r = jnp.asarray(4.47 * (1 - at)), jnp.asarray(19.3 * at)
    plain = surface(C_p, C_r, 0.0)
    assert np.array(plain) == pytest.approx(np.full(5, 97.4 / 2), rel=1e-4)
    synergy = np.array(surface(C_p, C_r, 1.0))
    assert (synergy[1:-1] < 97.4 / 2 - 2).all()
    # Bouillon 2004: 2.5 ug/mL and 4 ng/mL, by hand
    U = 2.5 / 4.47 + 4 / 19.3
    one = surface(jnp.float32(2.5), jnp.float32(4.0), 0.0)
    assert float(one) == pytest.approx(97.4 * (1 - U**1.43 / (1 + U**1.43)), rel=1e-4)


def test_tolerance_of_laryngoscopy_by_hand() -> None:
    for C_p, C_r in [(3.0, 4.0), (5.0, 0.0), (2.0, 8.0)]:
        left = 1.05 * (1 - C_r**0.97 / (C_r**0.97 + (1.07 * 1.05) ** 0.97))
        expected = C_p**5.1 / (C_p**5.1 + (8.04 * left) ** 5.1)
        made = float(response.tolerance_of_laryngoscopy(jnp.float32(C_p), jnp.float32(C_r)))
        assert made == pytest.approx(expected, rel=2e-3)


def test_the_typical_circulation_is_what_its_docstring_says() -> None:
    typical = tuple(
        jnp.float32(value)
        for value in (circulation.K_P_UG_ML, circulation.K_R_NG_ML, circulation.E_P, circulation.E_R)
    )
    alone = float(circulation.pressure_factor(jnp.float32(3.0), jnp.float32(0.0), *typical))
    both = float(circulation.pressure_factor(jnp.float32(3.0), jnp.float32(4.0), *typical))
    assert alone == pytest.approx(0.82, abs=0.01)
    assert both == pytest.approx(0.66, abs=0.01)
