"""Patients that the ensemble filter is judged on: of its own model, and of the UVA/Padova plant."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators.ensemble_calibration import STEP_MIN
from dosetwin.twins.estimators.ensemble_filter import predicted_readings, propagate
from dosetwin.twins.estimators.ensemble_layout import D1, Q1, S1
from dosetwin.twins.estimators.ensemble_prior import BASAL_SHARE, prior_ensemble
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.plants import diabetes
from dosetwin.twins.plants.diabetes_population import sample_population

Values = npt.NDArray[np.float64]


def _shown(clean: Values, rng: np.random.Generator) -> Values:
    noise = rng.normal(size=clean.shape) * np.hypot(sensor.WHITE_SD_MG_DL, sensor.WHITE_CV * clean)
    return np.clip(clean + noise, 20.0, 600.0)


class PriorPatients:
    """Drawn from the twin's own prior, moved by its own process noise, measured by its own sensor model."""

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.weight_kg = rng.uniform(50.0, 95.0, n)
        self.total_daily_dose_U = self.weight_kg * rng.uniform(0.4, 0.9, n)
        drawn = [
            prior_ensemble(rng, weight, daily, 1)
            for weight, daily in zip(self.weight_kg, self.total_daily_dose_U, strict=True)
        ]
        self._x = jnp.asarray(np.stack(drawn, 2))
        h = jnp.full(n, float(STEP_MIN), jnp.float32)
        self._move = jax.jit(lambda x, u, key: propagate(x, h, u, key))

    def glucose_mg_dL(self) -> Values:
        """Plasma glucose."""
        return np.asarray(self._x[Q1, 0], float) / V_G * MG_DL_PER_MMOL_L

    def reading_mg_dL(self, rng: np.random.Generator) -> Values:
        """With the sensor's persisting error, which is a state, and its white noise."""
        return _shown(np.asarray(predicted_readings(self._x), float)[0], rng)

    def bolus(self, amount_U: Values) -> None:
        """Into the first depot."""
        self._x = self._x.at[S1, 0].add(jnp.asarray(amount_U * 1000.0 / self.weight_kg, jnp.float32))

    def eat(self, carbohydrate_g: Values) -> None:
        """At once, as the model has it."""
        self._x = self._x.at[D1, 0].add(jnp.asarray(carbohydrate_g / self.weight_kg, jnp.float32))

    def live(self, insulin_U_per_h: Values, rng: np.random.Generator) -> None:
        """5 min of the filter's own step."""
        u = jnp.asarray(insulin_U_per_h * 1000.0 / 60.0 / self.weight_kg, jnp.float32)
        key = jnp.asarray(rng.integers(0, 2**32, len(self.weight_kg), dtype=np.uint32))
        self._x = self._move(self._x, u, key)


class PlantPatients:
    """Virtual adults of the UVA/Padova plant, structurally another model; the sensor's errors are the twin's.

    Their total daily dose is what their basal rate says (basal = half of it), as a clinic would enrol them.
    """

    MEAL_MIN = 15

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._adults = sample_population(jax.random.key(seed), n)
        self._state = diabetes.initial(self._adults)
        self.weight_kg = np.asarray(self._adults.BW, float)
        self.total_daily_dose_U = np.asarray(self._adults.basal_U_per_h, float) * 24.0 / BASAL_SHARE
        self._bias = np.asarray(sensor.persisting_error(jnp.asarray(rng.normal(size=n))))
        self._dose_U = np.zeros(n)
        self._to_eat_g = np.zeros(n)
        self._eating_min = np.zeros(n)
        self._minute = 8 * 60
        self._live = jax.jit(self._minutes)

    def glucose_mg_dL(self) -> Values:
        """Plasma glucose."""
        return np.asarray(diabetes.plasma_glucose_mg_dL(self._adults, self._state), float)

    def reading_mg_dL(self, rng: np.random.Generator) -> Values:
        """Of the plant's interstitial glucose."""
        clean = np.asarray(diabetes.interstitial_glucose_mg_dL(self._adults, self._state), float)
        return _shown(clean + self._bias * (sensor.ERROR_SD_MG_DL + sensor.ERROR_CV * clean), rng)

    def bolus(self, amount_U: Values) -> None:
        """Within the next minutes."""
        self._dose_U = self._dose_U + amount_U

    def eat(self, carbohydrate_g: Values) -> None:
        """Over the next 15 min."""
        begins = carbohydrate_g > 0.0
        self._to_eat_g = np.where(begins, carbohydrate_g, self._to_eat_g)
        self._eating_min = np.where(begins, float(self.MEAL_MIN), self._eating_min)

    def live(self, insulin_U_per_h: Values, rng: np.random.Generator) -> None:
        """5 min in steps of 1 min, the morning's dip and the drift of sensitivity included."""
        n = len(self.weight_kg)
        rate = insulin_U_per_h / 60.0 + self._dose_U / STEP_MIN
        carbohydrate = np.where(self._eating_min > 0.0, self._to_eat_g / self.MEAL_MIN, 0.0)
        noise = rng.normal(size=(STEP_MIN, n))
        self._state = self._live(
            self._state, jnp.asarray(rate), jnp.asarray(carbohydrate), float(self._minute), jnp.asarray(noise)
        )
        self._dose_U = np.zeros(n)
        self._eating_min = np.maximum(self._eating_min - STEP_MIN, 0.0)
        self._minute += STEP_MIN
        self._bias = np.asarray(
            sensor.error_after(
                jnp.asarray(self._bias),
                jnp.exp(-STEP_MIN / sensor.ERROR_TIME_MIN),
                jnp.asarray(rng.normal(size=n)),
            )
        )

    def _minutes(
        self,
        state: diabetes.DiabetesState,
        rate: jax.Array,
        carbohydrate: jax.Array,
        minute: jax.Array,
        noise: jax.Array,
    ) -> diabetes.DiabetesState:
        hour = jnp.full(rate.shape, jnp.mod(minute / 60.0, 24.0))

        def turn(state: diabetes.DiabetesState, noise: jax.Array) -> tuple[diabetes.DiabetesState, None]:
            inputs = diabetes.DiabetesInputs(rate, carbohydrate, hour, noise)
            return diabetes.step(self._adults, state, inputs, 1.0), None

        return jax.lax.scan(turn, state, noise)[0]
