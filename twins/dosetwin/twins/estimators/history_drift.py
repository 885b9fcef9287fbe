"""Parameters that drift while a patient is treated: a stationary process on steps of time.

The parameters that a model lets vary between occasions get one deviation kappa_j a step, and one for the
time ahead. Steps are not independent but an Ornstein-Uhlenbeck process of time constant tau seen at their
middles m_j:

    kappa_j = gamma x_j,    corr(x_i, x_j) = exp(-|m_i - m_j| / tau),    x ~ N(0, 1)

so that old levels say less about the present than new ones, and the future is less certain than the present.
Steps are counted back from the end of what is known; everything before the oldest step belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.platform.errors import TherapyError
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """`time_h`: the time constant tau. `steps` of `step_h` up to the end; one more, `ahead_h` after the end.

    Its standard deviation is that of the model's variability between occasions.
    """

    time_h: float
    step_h: float = 24.0
    steps: int = 4
    ahead_h: float = 24.0

    def __post_init__(self) -> None:
        if not (self.time_h > 0 and self.step_h > 0 and self.steps >= 1 and self.ahead_h >= 0):
            raise TherapyError(f"found {self}; expected a time constant and steps above 0")

    @cached_property
    def factor(self) -> Values:
        """Lower Cholesky factor of the correlation of the steps (oldest first) and the time ahead."""
        middles = (np.arange(self.steps) - self.steps + 0.5) * self.step_h
        middles = np.append(middles, self.ahead_h)
        apart = np.abs(middles[:, None] - middles[None, :])
        factor: Values = np.linalg.cholesky(np.exp(-apart / self.time_h))
        return factor

    def begins(self, end_h: float, first_h: float) -> Values:
        """When each step begins, the oldest not after `first_h` [steps]."""
        starts: Values = end_h - self.step_h * np.arange(self.steps, 0, -1.0)
        starts[0] = min(starts[0], first_h)
        return np.minimum.accumulate(starts[::-1])[::-1]

    def dimensions(self, model: PopulationModel) -> int:
        """How many standard normal numbers make one subject."""
        return len(model.varying) + (self.steps + 1) * len(model.occasion_varying)

    def engine_z(self, model: PopulationModel, z: Float[Array, " Z"]) -> Float[Array, " W"]:
        """What the engine takes: z of the subject, then of every step (`individual.split_etas`)."""
        K = len(model.varying)
        return jnp.concatenate([z[:K], self._steps(model, z)[:-1].ravel()])

    def ahead_z(self, model: PopulationModel, z: Float[Array, " Z"]) -> Float[Array, " W"]:
        """The same with the deviation of the time ahead in place of every step's."""
        K = len(model.varying)
        return jnp.concatenate([z[:K], jnp.tile(self._steps(model, z)[-1], self.steps)])

    def _steps(self, model: PopulationModel, z: Float[Array, " Z"]) -> Float[Array, "steps+1 L"]:
        free = z[len(model.varying) :].reshape(self.steps + 1, len(model.occasion_varying))
        mixed: Array = jnp.asarray(self.factor) @ free
        return mixed


def dimensions(model: PopulationModel, drift: Drift | None) -> int:
    """How many standard normal numbers make one subject."""
    return len(model.varying) if drift is None else drift.dimensions(model)


def engine_z(model: PopulationModel, drift: Drift | None, z: Float[Array, " Z"]) -> Float[Array, " W"]:
    """What the engine takes, with or without drift."""
    return z if drift is None else drift.engine_z(model, z)
