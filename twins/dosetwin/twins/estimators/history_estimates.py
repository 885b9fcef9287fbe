"""The compiled estimator, one per structure and residual error: shared by predictions and decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators.map_laplace import FREEDOM, Estimate, estimate
from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.population_model import Combined, LogError, PopulationModel

Values = npt.NDArray[np.float64]
SAMPLES = 128


def estimator(model: PopulationModel) -> Callable[..., Estimate]:
    """(history [B, ...], loading, noise [B, S/2, K+6]) -> Estimate [B, ...]; call it in double precision."""
    return _estimator(model.structure, model.observed.error)


@cache
def _estimator(structure: Linear, error: Combined | LogError) -> Callable[..., Estimate]:
    return jax.jit(jax.vmap(partial(estimate, structure, error), in_axes=(0, None, 0)))


def noise(model: PopulationModel, names: Sequence[tuple[int, str, int]]) -> Values:
    """Standard normal numbers [n, S/2, K+6], a function of (seed, patient, number) alone."""
    shape = (SAMPLES // 2, len(model.varying) + FREEDOM)
    drawn = np.empty((len(names), *shape))
    for i, (seed, patient, number) in enumerate(names):
        key = hashlib.blake2b(f"{seed}\x1f{patient}\x1f{number}".encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))
        generator.standard_normal(out=drawn[i])
    return drawn
