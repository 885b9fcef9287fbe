"""How little hypotension is reachable at all with BIS held in 40-60: an oracle that knows the patient.

For each of several constant concentrations of remifentanil, propofol follows exactly what the true patient
needs at every moment (true C50s with their drift, true arousal by the true stimulus) to hold the index at
60, the edge that takes least drug; effect site and plasma are taken as equal and reached at once. The
patient's best remifentanil is the one with the least time below the limit. A remifentanil that changes with
time could do a little better still; no real controller runs on the edge of the range. Mixes in which
remifentanil alone would take the index below 40 do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.plants.anaesthesia import AROUSAL_S, AnaesthesiaParameters, transmitted
from dosetwin.twins.plants.anaesthesia_circulation import (
    CirculationState,
    Drive,
    advanced,
    pressure_and_rate,
    rested,
)
from dosetwin.twins.trials.trial import FloatArray

if TYPE_CHECKING:
    from dosetwin.twins.trials.anaesthesia_plant import OperatingTheatres

REMIFENTANIL_NG_ML = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
HELD_AT, DEEPEST = 60.0, 40.0
STEP_S = 10.0
"""Of the traces."""


def floor_pct(
    plant: OperatingTheatres,
    traces: dict[str, FloatArray],
    counted: npt.NDArray[np.bool_],
    limit: float,
) -> FloatArray:
    """The smallest reachable share of the `counted` [n, T] moments with a pressure below `limit`, % [n]."""
    names = ("stimulus", "blood_loss", "c50_factor", "tone_factor")
    course = jnp.stack([jnp.asarray(traces[name], jnp.float32).T for name in names], axis=1)
    shares = []
    for remifentanil in REMIFENTANIL_NG_ML:
        pressure, possible = _held(plant.parameters, course, remifentanil)
        below = (limit > np.asarray(pressure).T) & counted
        share = 100.0 * below.sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        shares.append(np.where(np.asarray(possible), share, 100.0))
    least: FloatArray = np.min(shares, axis=0)
    return np.where(counted.any(axis=1), least, np.nan)


@jax.jit
def _held(
    p: AnaesthesiaParameters,
    course: Float[Array, "T 4 n"],
    remifentanil: Float[Array, ""] | float,
) -> tuple[Float[Array, "T n"], Float[Array, " n"]]:
    """The pressure at each moment, and in whom the mix is possible."""
    Cr = jnp.full_like(p.E0, remifentanil)
    alone = Cr / p.C50[1]
    possible = DEEPEST * (1.0 + alone**p.gamma) <= p.E0
    U = (p.E0 / HELD_AT - 1.0) ** (1.0 / p.gamma)
    keep = jnp.exp(-STEP_S / AROUSAL_S)

    def moment(
        carry: tuple[Array, CirculationState], now: Array
    ) -> tuple[tuple[Array, CirculationState], Array]:
        arousal, circulation = carry
        stimulus, loss, c50, tone = now
        arrives = transmitted(stimulus, Cr, p.C50_transmission)
        arousal = arrives + keep * (arousal - arrives)
        Cp = p.C50[0] * c50 * jnp.maximum(U * (1.0 + arousal) - alone, 0.0)
        circulation = advanced(p.circulation, circulation, Drive(Cp, Cr, arousal, loss, tone), STEP_S)
        return (arousal, circulation), pressure_and_rate(p.circulation, circulation, arousal)[0]

    begin = (jnp.zeros_like(p.E0), rested(p.circulation))
    _, pressure = jax.lax.scan(moment, begin, course)
    return pressure, possible
