"""Is the ensemble filter's uncertainty honest? Simulated patients, and scores of what was forecast for them.

Patients live for some hours under their basal programme, with meals and boluses. Every 5 min the filter
predicts the reading, then takes it in; every half hour it forecasts glucose itself 30 to 120 min ahead. A
forecast is scored where neither a meal nor a bolus comes between. Beside the filter stand two forecasts that
see no reading: the prior ensemble, which is told the same doses and meals, and climatology, what the
simulated patients' glucose is at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.diagnostics.forecast_scores import (
    LEVELS,
    RankHistogram,
    coverage,
    crps_ensemble,
    rank_histogram,
)
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import predicted_readings, propagate, update
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h, prior_ensemble
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G

Values = npt.NDArray[np.float64]
STEP_MIN = 5
LEADS_MIN = (0, 30, 60, 120)
FORECAST_EVERY_MIN = 30
SETTLE_MIN = 90
"""Scores begin when the filter has seen this much."""
APART_MIN = 120
"""Cases of one patient that a rank histogram counts lie this far apart: its test wants independent ones."""
_MG_DL = MG_DL_PER_MMOL_L / V_G


class Patients(Protocol):
    """Simulated patients, all at once; every array is [n]."""

    weight_kg: Values
    total_daily_dose_U: Values

    def glucose_mg_dL(self) -> Values:
        """What their glucose is."""
        ...

    def reading_mg_dL(self, rng: np.random.Generator) -> Values:
        """What their sensors show."""
        ...

    def bolus(self, amount_U: Values) -> None:
        """Inject."""
        ...

    def eat(self, carbohydrate_g: Values) -> None:
        """Begin a meal."""
        ...

    def live(self, insulin_U_per_h: Values, rng: np.random.Generator) -> None:
        """Live `STEP_MIN` under that rate."""
        ...


class Scores(NamedTuple):
    """Of one kind of forecast over `cases`; CRPS in mg/dL, means."""

    cases: int
    coverage: dict[float, float]
    ranks: RankHistogram
    crps: float
    crps_prior: float
    crps_climatology: float


class Calibration(NamedTuple):
    """`one_step`: of readings 5 min ahead; `ahead`: of glucose, by lead in min."""

    one_step: Scores
    ahead: dict[int, Scores]


class _Cases:
    """Forecasts and what came, collected until they are scored."""

    def __init__(self) -> None:
        self.members: list[Values] = []
        self.prior: list[Values] = []
        self.observed: list[Values] = []
        self.counted: list[npt.NDArray[np.bool_]] = []

    def add(self, members: Values, prior: Values, observed: Values, at_min: int) -> None:
        self.members.append(members)
        self.prior.append(prior)
        self.observed.append(observed)
        self.counted.append(np.full(len(observed), (at_min - SETTLE_MIN) % APART_MIN == 0))

    def scores(self, climate: Values, rng: np.random.Generator) -> Scores:
        members, prior = np.concatenate(self.members), np.concatenate(self.prior)
        observed, counted = np.concatenate(self.observed), np.concatenate(self.counted)
        climatology = rng.choice(climate, members.shape)
        return Scores(
            cases=len(observed),
            coverage=coverage(members, observed, LEVELS),
            ranks=rank_histogram(members[counted], observed[counted], bins=11),
            crps=float(crps_ensemble(members, observed).mean()),
            crps_prior=float(crps_ensemble(prior, observed).mean()),
            crps_climatology=float(crps_ensemble(climatology, observed).mean()),
        )


def calibrate(
    patients: Patients, *, hours: int = 8, seed: int = 0, members: int = row.MEMBERS
) -> Calibration:
    """Let `patients` live and score the filter on them. A function of the patients and `seed`."""
    rng = np.random.default_rng(seed)
    n = len(patients.weight_kg)
    basal = basal_U_per_h(1.0) * patients.total_daily_dose_U
    u = jnp.asarray(basal * 1000.0 / 60.0 / patients.weight_kg, jnp.float32)
    start = [
        prior_ensemble(rng, weight, daily, members)
        for weight, daily in zip(patients.weight_kg, patients.total_daily_dose_U, strict=True)
    ]
    both = jnp.asarray(np.concatenate([np.stack(start, 2)] * 2, axis=2))
    """The filter's ensembles, then the prior's, along the last axis."""
    move, take, ahead = _kernels(n)
    steps = hours * 60 // STEP_MIN
    events = np.zeros((steps, n), bool)
    for i in range(n):
        events[rng.choice(np.arange(12, steps - 2), max(1, hours // 4), replace=False), i] = True
    glucose = np.zeros((steps, n))
    forecasts: dict[int, tuple[Values, Values]] = {}
    one_step = _Cases()

    for k in range(steps):
        if k:
            patients.live(basal, rng)
            both = move(both, u, jnp.asarray(rng.integers(0, 2**32, 2 * n, dtype=np.uint32)))
        glucose[k] = patients.glucose_mg_dL()
        reading = patients.reading_mg_dL(rng)
        if k * STEP_MIN >= SETTLE_MIN:
            predicted = _with_white_noise(np.asarray(predicted_readings(both), float), rng)
            one_step.add(predicted[:, :n].T, predicted[:, n:].T, reading, k * STEP_MIN)
        both = take(both, jnp.asarray(reading, jnp.float32))
        eats = events[k]
        grams = np.where(eats, rng.uniform(20.0, 70.0, n), 0.0)
        dose = grams * patients.total_daily_dose_U / 500.0 * rng.uniform(0.6, 1.1, n)
        if eats.any():
            error = row.MEAL_ERROR_CV
            patients.eat(grams * np.exp(error * rng.normal(size=n) - 0.5 * error**2))
            patients.bolus(dose)
            both = _told(both, grams, dose, patients.weight_kg, rng)
        if k * STEP_MIN >= SETTLE_MIN and k * STEP_MIN % FORECAST_EVERY_MIN == 0:
            keys = rng.integers(0, 2**32, (max(LEADS_MIN) // STEP_MIN, 2 * n), dtype=np.uint32)
            path = np.asarray(ahead(both, u, jnp.asarray(keys)), float) * _MG_DL
            forecasts[k] = path[:, :, :n], path[:, :, n:]

    climate = glucose.reshape(-1)
    scored: dict[int, Scores] = {}
    for lead in LEADS_MIN:
        cases = _Cases()
        for k, (members_path, prior_path) in forecasts.items():
            later = k + lead // STEP_MIN
            if later < steps:
                alone = ~events[k:later].any(0)
                at = lead // STEP_MIN
                cases.add(
                    members_path[at][:, alone].T,
                    prior_path[at][:, alone].T,
                    glucose[later, alone],
                    k * STEP_MIN,
                )
        scored[lead] = cases.scores(climate, rng)
    return Calibration(one_step.scores(climate, rng), scored)


_Kernels = tuple[Callable[..., jax.Array], Callable[..., jax.Array], Callable[..., jax.Array]]


def _kernels(n: int) -> _Kernels:
    """Propagate, update (the first n only), and glucose along a forecast."""
    h = jnp.full(2 * n, float(STEP_MIN), jnp.float32)

    def move(x: jax.Array, u: jax.Array, key: jax.Array) -> jax.Array:
        return propagate(x, h, jnp.concatenate([u, u]), key)

    def take(x: jax.Array, reading: jax.Array) -> jax.Array:
        return update(x, jnp.concatenate([reading, jnp.full(n, jnp.nan)]), jnp.zeros(2 * n, jnp.int32))[0]

    def ahead(x: jax.Array, u: jax.Array, keys: jax.Array) -> jax.Array:
        def turn(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = move(x, u, key)
            return x, x[row.Q1]

        return jnp.concatenate([x[row.Q1][None], jax.lax.scan(turn, x, keys)[1]])

    return jax.jit(move), jax.jit(take), jax.jit(ahead)


def _with_white_noise(clean: Values, rng: np.random.Generator) -> Values:
    return clean + rng.normal(size=clean.shape) * np.hypot(sensor.WHITE_SD_MG_DL, sensor.WHITE_CV * clean)


def _told(
    both: jax.Array, grams: Values, dose_U: Values, weight_kg: Values, rng: np.random.Generator
) -> jax.Array:
    """Both ensembles after a meal and a bolus, each member with its own error of the carbohydrate."""
    error = row.MEAL_ERROR_CV * rng.normal(size=both.shape[1:]) - 0.5 * row.MEAL_ERROR_CV**2
    meal = np.tile(grams / weight_kg, 2) * np.exp(error)
    both = both.at[row.D1].add(jnp.asarray(meal, jnp.float32))
    return both.at[row.S1].add(jnp.asarray(np.tile(dose_U * 1000.0 / weight_kg, 2), jnp.float32))
