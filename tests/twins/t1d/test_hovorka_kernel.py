"""The kernels against the published equations, written down here on their own and solved by diffrax."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import propagate
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import (
    InsulinChain,
    advance_insulin,
    insulin_equilibrium,
    insulin_step,
)
from dosetwin.twins.models.meal_absorption import Gut, advance_gut

Values = npt.NDArray[np.float64]


def published(_t: object, state: jax.Array, args: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Hovorka 2004, eqs 1-8, for 1 kg of body weight; x_j as in the paper, not scaled."""
    S1, S2, I, x1, x2, x3, D1, D2, Q1, Q2 = state  # noqa: E741
    u, p = args
    SIT, SID, SIE, EGP0, tI, tG, AG = p
    ka1, ka2, ka3 = 0.006, 0.06, 0.011  # the last is ours (`insulin_absorption`)
    G = Q1 / 0.16
    F01c = jnp.where(G >= 4.5, 0.0097, 0.0097 * G / 4.5)
    FR = jnp.where(G >= 9.0, 0.003 * (G - 9.0) * 0.16, 0.0)
    UG = AG * D2 / tG * 1000.0 / 180.16
    # ours: uptake saturates, and glucose answers itself (`hovorka`)
    moved = x1 * Q1 * (1.8 + 0.16 * 7.2) / (1.8 + Q1)
    effectiveness = 0.005 * (Q1 - 0.16 * 7.2)
    return jnp.stack(
        [
            u - S1 / tI,
            (S1 - S2) / tI,
            S2 / (tI * 0.12) - 0.138 * I,
            ka1 * SIT * I - ka1 * x1,
            ka2 * SID * I - ka2 * x2,
            ka3 * SIE * I - ka3 * x3,
            -D1 / tG,
            (D1 - D2) / tG,
            -F01c - moved + 0.066 * Q2 - FR + UG + EGP0 * jnp.maximum(1.0 - x3, 0.0) - effectiveness,
            moved - (0.066 + x2) * Q2,
        ]
    )


def solve(state: Values, u: float, p: Values, minutes: float) -> Values:
    """The published equations over `minutes` under a constant delivery, to 1e-8."""
    with jax.enable_x64(True):
        return np.asarray(_solve(jnp.asarray(state), jnp.asarray(u), jnp.asarray(p), jnp.asarray(minutes)))


@jax.jit
def _solve(state: jax.Array, u: jax.Array, p: jax.Array, minutes: jax.Array) -> jax.Array:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(published),
        diffrax.Tsit5(),
        0.0,
        minutes,
        0.01,
        state,
        args=(u, p),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
        max_steps=100_000,
    )
    assert solution.ys is not None
    end: jax.Array = solution.ys[0]
    return end


def ensemble_of(state: Values, p: Values) -> npt.NDArray[np.float32]:
    """Our rows of that state for one member and one patient, without disturbance."""
    x = np.zeros((row.ROWS, 1, 1), np.float32)
    S, SIT, SID, SIE = state, *p[:3]
    x[: row.D2 + 1, 0, 0] = [S[0], S[1], S[2], S[3] / SIT, S[4] / SID, S[5] / SIE, S[6], S[7]]
    x[row.Q1, 0, 0], x[row.Q2, 0, 0] = S[8], S[9]
    x[row.C, 0, 0] = S[8] / 0.16
    x[row.LN_SIT : row.LN_AG + 1, 0, 0] = np.log(p)
    x[row.SITE] = 1.0
    return x


NOMINAL = np.array([51.2e-4, 8.2e-4, 520e-4, 0.0161, 55.0, 40.0, 0.8])
FAST = NOMINAL * np.array([1.8, 1.6, 1.5, 1.3, 0.5, 0.5, 1.1])
SLOW = NOMINAL * np.array([0.5, 0.5, 0.6, 0.9, 1.8, 1.8, 0.9])


def resting(u: float, G: float, p: Values) -> Values:
    I = u / (0.138 * 0.12)  # noqa: E741
    x1, x2, x3 = p[0] * I, p[1] * I, p[2] * I
    Q1 = G * 0.16
    eased = x1 * (1.8 + 0.16 * 7.2) / (1.8 + Q1)
    return np.array([u * p[4], u * p[4], I, x1, x2, x3, 0.0, 0.0, Q1, eased * Q1 / (0.066 + x2)])


@pytest.mark.parametrize(
    ("p", "bolus_U"), [(NOMINAL, 6.0), (FAST, 3.0), (SLOW, 6.0)], ids=["nominal", "fast", "slow"]
)
def test_four_hours_with_a_meal_and_a_bolus_match_the_published_equations(
    p: Values, bolus_U: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without process noise: what is tested is the integration
    monkeypatch.setattr(row, "FLUX_SD", 0.0)
    monkeypatch.setattr(row, "DRIFT_PER_SQRT_DAY", dict.fromkeys(row.DRIFT_PER_SQRT_DAY, 0.0))
    u = 0.10
    state = resting(u, 7.0, p)
    state[6] += 60.0 / 70.0
    state[0] += bolus_U * 1000.0 / 70.0
    x = jnp.asarray(ensemble_of(state, p))
    step = jax.jit(
        lambda x: propagate(x, jnp.array([5.0]), jnp.array([u], jnp.float32), jnp.zeros(1, jnp.uint32))
    )
    worst = 0.0
    for _ in range(48):
        state = solve(state, u, p, 5.0)
        x = step(x)
        worst = max(worst, abs(float(x[row.Q1, 0, 0]) - state[8]) / 0.16 * 18.016)
        assert float(x[row.PLASMA, 0, 0]) == pytest.approx(state[2], rel=2e-4)
        assert float(x[row.Y3, 0, 0]) * p[2] == pytest.approx(state[5], rel=2e-3, abs=1e-3)
        assert float(x[row.D2, 0, 0]) == pytest.approx(state[7], rel=1e-4, abs=1e-6)
    assert worst < 1.0, f"{worst:.2f} mg/dL from the published equations"


def test_a_step_of_nothing_changes_nothing() -> None:
    chain = InsulinChain(*(jnp.array([v]) for v in (20.0, 10.0, 8.0, 5.0, 6.0, 7.0)))
    after = advance_insulin(chain, jnp.array([0.3]), insulin_step(jnp.array([0.0]), jnp.array([55.0])))
    np.testing.assert_allclose(np.ravel(after), np.ravel(chain), rtol=1e-5)


def test_steps_of_any_length_end_at_the_same_place() -> None:
    t_maxI = jnp.array([55.0])
    whole = insulin_equilibrium(jnp.array([0.2]), t_maxI)._replace(S1=jnp.array([90.0]))
    parts = whole
    for h in (1.0, 2.5, 0.5, 1.0):
        parts = advance_insulin(parts, jnp.array([0.05]), insulin_step(jnp.array([h]), t_maxI))
    whole = advance_insulin(whole, jnp.array([0.05]), insulin_step(jnp.array([5.0]), t_maxI))
    np.testing.assert_allclose(np.ravel(parts[:3]), np.ravel(whole[:3]), rtol=1e-5)
    np.testing.assert_allclose(np.ravel(parts[3:]), np.ravel(whole[3:]), rtol=5e-3)


def test_equilibrium_of_the_insulin_chain_stays() -> None:
    t_maxI = jnp.array([30.0, 55.0, 120.0])
    rest = insulin_equilibrium(jnp.full(3, 0.17), t_maxI)
    after = rest
    for _ in range(100):
        after = advance_insulin(after, jnp.full(3, 0.17), insulin_step(jnp.full(3, 5.0), t_maxI))
    for name, before, now in zip(rest._fields, rest, after, strict=True):
        np.testing.assert_allclose(now, before, rtol=2e-4, err_msg=name)


def test_every_unit_of_insulin_is_eliminated_once() -> None:
    """A bolus leaves the body through k_e alone: integral of k_e V_I I equals the bolus."""
    t_maxI = jnp.array([55.0])
    zero = jnp.zeros(1)
    chain = InsulinChain(jnp.array([100.0]), zero, zero, zero, zero, zero)
    step = insulin_step(jnp.array([1.0]), t_maxI)
    plasma = [0.0]
    for _ in range(1500):
        chain = advance_insulin(chain, zero, step)
        plasma.append(float(chain.I[0]))
    assert 0.138 * 0.12 * np.trapezoid(plasma) == pytest.approx(100.0, rel=2e-3)


def test_no_carbohydrate_is_lost_or_made() -> None:
    gut = Gut(jnp.array([0.9]), jnp.array([0.1]))
    left = 0.0
    for _ in range(400):
        gut, gone = advance_gut(gut, jnp.array([5.0]), jnp.array([40.0]))
        left += float(gone[0])
    assert left == pytest.approx(1.0, rel=1e-5)
    assert float(gut.D1[0] + gut.D2[0]) < 1e-6


def test_the_sensitivity_scale_makes_the_basal_rate_hold_the_glucose() -> None:
    """Against the published equations: three days at that rate leave glucose where it was."""
    p = NOMINAL.copy()
    u, G = 0.20, 7.2
    scale = hovorka.sensitivity_scale(
        np.array([u]), np.array([G]), np.array([p[3]]), tuple(np.array([s]) for s in p[:3])
    )
    p[:3] *= scale
    settled = solve(resting(u, G, p), u, p, 3 * 1440.0)
    assert settled[8] / 0.16 == pytest.approx(G, rel=1e-4)
