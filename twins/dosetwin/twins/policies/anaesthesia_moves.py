"""What a pump may be set to: two rates that take the effect site to a target, superposed for every member.

A move is two rates, r1 for the next minute and r2 for the four after it, that take the ensemble's mean
effect-site concentration to a target after two minutes and keep it there at five (target-controlled infusion
on the twin's own kinetics). Gentle ones have one rate; the last of remifentanil's pass a peak after two
minutes on the way back to what is usual, for a stimulus that will pass. Kinetics are linear, so that a
member's concentrations under all moves are one free response and one step response s, superposed:

    C(t) = C_free(t) + r1 (s(t) - s(t - 1)) + r2 s(t - 1).

Propofol's targets are multiples of the concentration that would put the index on its goal; remifentanil's are
absolute. "hold" keeps a pump as it runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models import effect_site_kinetics as kinetics

PerPatient = Float[Array, " patients"]

STEP_MIN: Final = 1.0 / 3.0
STEPS: Final = 14
FIRST_MOVE: Final = 3
"""Steps of the first rate."""
AT: Final = (1, 3, 5, 7, 9, 11, 13)
"""Steps (from 0) at whose end effects are looked at."""
AT_S: Final = tuple((k + 1) * STEP_MIN * 60.0 for k in AT)
EARLY: Final = 5
"""The step at whose end a target is first to be met: two minutes."""
PROPOFOL: Final = (0.0, 0.5, 0.65, 0.75, 0.85, 0.9, 1.0, 1.1, 1.2, 1.3, 1.6)
REMIFENTANIL_NG_ML: Final = (0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 2.5, 5.0, 3.0, 3.0)
PEAK_NG_ML: Final = (5.0, 8.0)
"""What the last of these pass after two minutes, on their way."""
GENTLE: Final = 6
"""The first so many of these are reached in five minutes with one rate, the others in two."""


class Reach(NamedTuple):
    """Free and step responses of one drug for every member, at the effect sites of brain and circulation.

    [STEPS + 1, members, patients], the first entry is now.
    """

    free_E: Array
    free_M: Array
    step_E: Array
    step_M: Array


def reach_of(x: kinetics.Kinetics, k: kinetics.RateConstants) -> Reach:
    """Of several drugs at once, along the first axis of `x` and `k`; it comes second in the responses."""
    zero = jnp.zeros_like(x.c1)
    both = kinetics.Kinetics(*(jnp.stack([part, zero]) for part in x))
    u = jnp.stack([zero, zero + 1.0])

    def step(state: kinetics.Kinetics, _: None) -> tuple[kinetics.Kinetics, tuple[Array, Array]]:
        moved = kinetics.advance(state, u, jnp.float32(STEP_MIN), k)
        return moved, (moved.E, moved.M)

    _, (E, M) = jax.lax.scan(step, both, None, length=STEPS)
    E, M = jnp.concatenate([both.E[None], E]), jnp.concatenate([both.M[None], M])
    return Reach(E[:, 0], M[:, 0], E[:, 1], M[:, 1])


class Moves(NamedTuple):
    """Rates a minute [options, patients], concentrations [options, times, members, patients] at `AT`."""

    first: Array
    second: Array
    E: Array
    M: Array
    stopped: Array
    """The brain's, if nothing follows the first rate."""


def moves_to(
    reach: Reach,
    target: Array,
    running: PerPatient,
    highest: PerPatient,
    increment: PerPatient,
    *,
    gentle: int = 0,
    peak: Array | None = None,
) -> Moves:
    """Option 0 holds the pump; the others go to `target` [options - 1, patients].

    `gentle` of them do so slowly; the others by way of `peak` after two minutes.
    """
    late = STEPS
    early = EARLY + 1
    F1, F2 = reach.free_E[early].mean(0), reach.free_E[late].mean(0)
    s = reach.step_E.mean(1)
    G11, G12 = s[early] - s[early - FIRST_MOVE], s[early - FIRST_MOVE]
    G21, G22 = s[late] - s[late - FIRST_MOVE], s[late - FIRST_MOVE]
    det = G11 * G22 - G12 * G21
    soon = target if peak is None else peak
    first = ((soon - F1) * G22 - (target - F2) * G12) / det
    if gentle:
        first = first.at[:gentle].set((target[:gentle] - F2) / (G21 + G22))
    first = jnp.clip(first, 0.0, highest)
    first = jnp.floor(first / increment + 1e-3) * increment
    second = jnp.clip((target - F2 - G21 * first) / G22, 0.0, highest)
    first = jnp.concatenate([running[None], first])
    second = jnp.concatenate([running[None], second])
    wide = first[:, None, None], second[:, None, None]
    at = jnp.asarray(AT) + 1
    before = jnp.maximum(at - FIRST_MOVE, 0)
    stopped = reach.free_E[at] + wide[0] * (reach.step_E[at] - reach.step_E[before])
    return Moves(first, second, *superposed(reach, *wide), stopped)


def superposed(reach: Reach, first: Array, second: Array) -> tuple[Array, Array]:
    """Concentrations E and M [..., times, members, patients] at `AT` under rates that broadcast to that."""
    at = jnp.asarray(AT) + 1
    before = jnp.maximum(at - FIRST_MOVE, 0)

    def under(free: Array, step: Array) -> Array:
        return free[at] + first * (step[at] - step[before]) + second * step[before]

    return under(reach.free_E, reach.step_E), under(reach.free_M, reach.step_M)
