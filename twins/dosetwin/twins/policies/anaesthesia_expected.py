"""The noxious stimulus over the horizon: the level goes on, what came lately passes, as what was announced.

Before the opioid, in the units of `anaesthesia_filter` (S + SL): S passes slowly, an announced one quickly
from its end on; one that is to come is as large as `anaesthesia_filter.announced` expects it, in three
members of four, and rises within a quarter of a minute. Relieved is the case that S ends now, but for
`RELIEVED` of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_filter import ANNOUNCED, EASES_MIN, Ensemble, eased

RELIEVED: Final = 0.3
RISES_PER_MIN: Final = 4.0
"""Both our assumption."""
PerPatient = Float[Array, " patients"]


class Announced(NamedTuple):
    """`anaesthesia_stimuli.Ahead` of each patient: strength, and minutes; [patients]."""

    strength: PerPatient
    begins: PerPatient
    lasts: PerPatient
    left: PerPatient
    easing: PerPatient


def expected_stimulus(
    x: Ensemble, t: Float[Array, " times"], announced: Announced
) -> tuple[Array, Array, Array]:
    """At `t` min from now [times, members, patients]; what of today's goes on after that; relieved at `t`."""
    members = x.shape[1]
    t = t[:, None]
    left = eased(jnp.clip(t - announced.left, 0.0, announced.easing), members)
    kept = x[row.S] * left * jnp.exp(-t / row.PASSES_MIN)[..., None]
    order = jnp.arange(members)
    size = (order % 4 > 0) * -jnp.log(1.0 - ((17 * order) % members + 0.5) / members)
    begun = jnp.clip(RISES_PER_MIN * (t - announced.begins), 0.0, 1.0)
    over = jnp.exp(-jnp.maximum(t - announced.begins - announced.lasts, 0.0) / EASES_MIN)
    comes = ANNOUNCED * size[:, None] * (announced.strength * begun * over)[:, None]
    S = jnp.where(announced.strength > 0.0, jnp.maximum(kept, comes), kept)
    return S + x[row.SL], kept[-1] + x[row.SL], x[row.S] * jnp.minimum(left, RELIEVED) + x[row.SL]
