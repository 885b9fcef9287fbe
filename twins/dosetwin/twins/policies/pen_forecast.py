"""What each size of a bolus now would do over 5 h, on the ensemble, beside the long-acting insulin.

The filter's own step (`ensemble_filter.propagate`) with the same noise under every candidate, 5 min each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import propagate
from dosetwin.twins.estimators.ensemble_noise import mix
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.policies.insulin_scores import risk

STEP_MIN = 5.0
STEPS = 60
POINTS_EVERY = 3
VERY_LOW, LOW, VERY_HIGH = 54.0, 70.0, 250.0


class BolusOutlook(NamedTuple):
    """`glucose` [n, C, members, points] in mg/dL, every 15 min from now; the rest [n, C]."""

    glucose: npt.NDArray[np.float32]
    utility: npt.NDArray[np.float64]
    attainment: npt.NDArray[np.float64]
    below_70: npt.NDArray[np.float64]
    below_54: npt.NDArray[np.float64]
    above_250: npt.NDArray[np.float64]
    lowest: npt.NDArray[np.float64]


@jax.jit
def _paths(
    x: Float[Array, "rows members n"],
    u: Float[Array, "steps n"],
    bolus: Float[Array, "candidates n"],
    key: UInt32[Array, " n"],
) -> Float[Array, "steps1 candidates members n"]:
    """Glucose now and after every step under each candidate, mg/dL; u mU/kg/min, bolus mU/kg."""
    candidates, n = bolus.shape
    wide = jnp.tile(x, (1, 1, candidates))
    wide = wide.at[row.S1].add(bolus.reshape(1, -1))
    keys = jnp.tile(key, candidates)
    h = jnp.full(candidates * n, STEP_MIN, jnp.float32)

    def step(x: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        rate, k = now
        x = propagate(x, h, jnp.tile(rate, candidates), mix(keys + k))
        return x, x[row.Q1]

    _, after = jax.lax.scan(step, wide, (u, jnp.arange(1, STEPS + 1, dtype=jnp.uint32)))
    Q1 = jnp.concatenate([wide[None, row.Q1], after])
    return (MG_DL_PER_MMOL_L / V_G) * Q1.reshape(STEPS + 1, -1, candidates, n).transpose(0, 2, 1, 3)


def outlook(
    ensembles: npt.NDArray[np.float32],
    release_U_per_h: npt.NDArray[np.float64],
    boluses_U: npt.NDArray[np.float64],
    weight_kg: npt.NDArray[np.float64],
    keys: npt.NDArray[np.uint32],
    low_mg_dL: npt.NDArray[np.float64],
    high_mg_dL: npt.NDArray[np.float64],
) -> BolusOutlook:
    """Forecast and score `boluses_U` [n, C]; `ensembles` [n, rows, members], release [n, STEPS]."""
    n = len(ensembles)
    size = 1 << max(0, (n - 1).bit_length())
    some = np.minimum(np.arange(size), n - 1)  # padded to a power of two: few compilations
    per_kg = 1000.0 / weight_kg[some]
    paths = np.asarray(
        _paths(
            jnp.asarray(ensembles[some].transpose(1, 2, 0)),
            jnp.asarray((release_U_per_h[some] / 60.0 * per_kg[:, None]).T, jnp.float32),
            jnp.asarray((boluses_U[some] * per_kg[:, None]).T, jnp.float32),
            jnp.asarray(keys[some]),
        )
    )[..., :n].transpose(3, 1, 2, 0)
    future = np.maximum(paths[..., 1:], 20.0)
    smallest, largest = future.min(-1), future.max(-1)
    inside = (future >= low_mg_dL[:, None, None, None]) & (future <= high_mg_dL[:, None, None, None])
    weighed = np.asarray(risk(jnp.log(jnp.asarray(future))), np.float64)
    return BolusOutlook(
        glucose=paths[..., ::POINTS_EVERY],
        utility=-weighed.mean((2, 3)),
        attainment=inside.mean((2, 3)),
        below_70=(smallest < LOW).mean(2),
        below_54=(smallest < VERY_LOW).mean(2),
        above_250=(largest > VERY_HIGH).mean(2),
        lowest=np.quantile(smallest, 0.05, axis=2),
    )
