"""What every covariate equation asks of its arguments: numbers that a person can have, in NumPy or in JAX."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.errors import ModelError

Values = npt.NDArray[np.float64]
Size = TypeVar("Size", Values, jax.Array)
"""The arrays of one call are of one kind; Python numbers may stand among them."""

POSSIBLE: dict[str, tuple[float, float]] = {
    "age_a": (0.0, 130.0),
    "weight_kg": (0.1, 1000.0),
    "reference_weight_kg": (0.1, 1000.0),
    "height_cm": (10.0, 300.0),
    "body_surface_area_m2": (0.01, 10.0),
    "fat_free_mass_kg": (0.01, 1000.0),
    "ideal_body_weight_kg": (0.1, 1000.0),
    "creatinine_mg_dL": (0.01, 100.0),
    "creatinine_umol_L": (0.9, 10_000.0),
    "gestational_age_weeks": (20.0, 46.0),
    "postmenstrual_age_weeks": (20.0, 7000.0),
    "egfr_mL_min_1_73m2": (0.0, 1000.0),
    "gfr_mL_min": (0.0, 1000.0),
}
"""Argument -> least and greatest number that is taken (our choice: wide, but a wrong unit falls outside:
metres for cm, grams for kg, years for weeks)."""
TRUTHS = ("sex_male", "black", "preterm")
"""Arguments that are 1 (yes) or 0 (no), nothing else: 1 and 2 are another file's code of sex."""


def given(**arguments: Any) -> tuple[Any, ...]:
    """The array module of the arguments (jax.numpy where one is a JAX array, else NumPy), then the arguments.

    Raises ModelError where a concrete value is no number, or one that no person has. A value that JAX is
    tracing (inside jit, grad, vmap) is not known yet and is not looked at.
    """
    xp: Any = jnp if any(isinstance(value, jax.Array) for value in arguments.values()) else np
    for name, value in arguments.items():
        if not isinstance(value, jax.core.Tracer):
            _refuse_impossible(name, np.asarray(value, float))
    if xp is np:
        return (np, *(np.asarray(value, float) for value in arguments.values()))
    return (jnp, *(jnp.asarray(value) for value in arguments.values()))


def _refuse_impossible(name: str, values: Values) -> None:
    if name in TRUTHS:
        wrong, expected = ~((values == 0) | (values == 1)), "1 for yes or 0 for no"
    elif name in POSSIBLE:
        low, high = POSSIBLE[name]
        wrong, expected = ~((values >= low) & (values <= high)), f"a number from {low:g} to {high:g}"
    else:
        wrong, expected = ~(np.isfinite(values) & (values > 0)), "a number above 0"
    _refuse(name, values, wrong, expected, "check the value and its unit; leave out who has none")


def refuse_result(name: str, result: Any, why: str) -> None:
    """Raise ModelError where a concrete result is not above 0: the equation was left behind its domain."""
    if not isinstance(result, jax.core.Tracer):
        values = np.asarray(result, float)
        _refuse(name, values, ~(values > 0), "a number above 0", why)


def _refuse(name: str, values: Values, wrong: npt.NDArray[np.bool_], expected: str, remedy: str) -> None:
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f" at {place[0] if len(place) == 1 else place}" if place else ""
        raise ModelError(f"found {name} = {values[place]:.6g}{where}; expected {expected}", remedy=remedy)
