"""Days of many virtual adults at once: steps in one compiled loop, in blocks that stay in the cache."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.plants.diabetes import (
    DiabetesParameters,
    DiabetesState,
    drifted,
    meal_size_mg,
    sensitivity,
)
from dosetwin.twins.plants.diabetes_kernel import advance, prepare

BLOCK = 1024
"""Patients of one loop: their states and coefficients (0.4 MB in float32) stay in a core's cache."""


class DiabetesSchedule(NamedTuple):
    """What happens to n patients in T steps, at a constant rate within each; `noise` is standard normal."""

    insulin_U_per_min: Float[Array, "T n"]
    carbohydrate_g_per_min: Float[Array, "T n"]
    noise: Float[Array, "T n"]
    start_hour: Float[Array, " n"]


class DiabetesTrace(NamedTuple):
    """Glucose at the end of every step, mg/dL, and the state after the last one."""

    plasma_mg_dL: Float[Array, "T n"]
    interstitial_mg_dL: Float[Array, "T n"]
    state: DiabetesState


def simulate(
    parameters: DiabetesParameters,
    state: DiabetesState,
    schedule: DiabetesSchedule,
    dt_min: float = 1.0,
) -> DiabetesTrace:
    """Steps of `dt_min` minutes from `state` through `schedule`, the same as calling `diabetes.step` T times.

    More than BLOCK patients run in blocks on all cores. The precision is that of the parameters. Raises
    DoseTwinError where the schedule is for another number of patients or steps.
    """
    n = parameters.BW.shape[0]
    shapes = {name: values.shape for name, values in schedule._asdict().items()}
    steps = (shapes["noise"][0], n)
    expected = dict.fromkeys(shapes, steps) | {"start_hour": (n,)}
    if shapes != expected or state.Dm.shape != (n,):
        raise DoseTwinError(
            f"found {n} patients, {state.Dm.shape[0]} states and a schedule of {shapes}; expected {expected}",
            remedy="give the arrays of the schedule the steps as first and the patients as last axis",
        )
    # JAX's switch is a setting of the thread: the pool's threads would not have the caller's
    double = parameters.BW.dtype == np.float64
    size = min(n, BLOCK)

    def run(start: int) -> DiabetesTrace:
        with jax.enable_x64(double):
            trace: DiabetesTrace = _simulate(parameters, state, schedule, start, size, dt_min)
            trace.plasma_mg_dL.block_until_ready()
        return trace

    # the last block reaches back, so that all have one shape and one compilation
    starts = [min(start, n - size) for start in range(0, n, BLOCK)]
    if len(starts) == 1:
        return run(0)
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        traces = list(pool.map(run, starts))
    with jax.enable_x64(double):
        joined: DiabetesTrace = _join(traces, len(starts) * BLOCK - n)
    return joined


@partial(jax.jit, static_argnames="repeated")
def _join(traces: list[DiabetesTrace], repeated: int) -> DiabetesTrace:
    """The blocks side by side, without what the last one repeats of the one before."""

    def join(*leaves: Array) -> Array:
        return jnp.concatenate([*leaves[:-1], leaves[-1][..., repeated:]], axis=-1)

    joined: DiabetesTrace = jax.tree.map(join, *traces)
    return joined


@partial(jax.jit, static_argnames=("size", "dt_min"))
def _simulate(
    parameters: DiabetesParameters,
    state: DiabetesState,
    schedule: DiabetesSchedule,
    start: int | Int[Array, ""],
    size: int,
    dt_min: float,
) -> DiabetesTrace:
    """The `size` patients from `start` on; the schedule is cut a step at a time, since copies take time."""
    number = parameters.BW.dtype

    def mine(leaf: Array) -> Array:
        leaf = jax.lax.dynamic_slice_in_dim(leaf, start, size, axis=-1)
        return leaf if leaf.dtype == bool else leaf.astype(number)

    def now(values: Float[Array, "T all"], k: Int[Array, ""]) -> Float[Array, " n"]:
        return jax.lax.dynamic_slice(values, (k, start), (1, size))[0].astype(number)

    p, state, start_hour = jax.tree.map(mine, (parameters, state, schedule.start_hour))
    propagator = prepare(p, dt_min)
    per_Vg = 1.0 / p.Vg
    Carry = tuple[tuple[Array, ...], Array, Array, Array]

    def step(carry: Carry, k: Int[Array, ""]) -> tuple[Carry, tuple[Array, Array]]:
        x, Dm, eating, drift = carry
        insulin = now(schedule.insulin_U_per_min, k)
        carbohydrate = now(schedule.carbohydrate_g_per_min, k)
        drift = drifted(p, drift, now(schedule.noise, k), dt_min)
        S = sensitivity(p, drift, start_hour + k * (dt_min / 60.0))
        Dm = meal_size_mg(x[0] + x[1], Dm, eating, carbohydrate, dt_min)
        x = advance(p, propagator, x, Dm, insulin, carbohydrate, S)
        return (x, Dm, carbohydrate > 0, drift), (x[3] * per_Vg, x[12] * per_Vg)

    steps = jnp.arange(schedule.noise.shape[0])
    begin = (tuple(state.x), state.Dm, state.eating, state.drift)
    (x, Dm, eating, drift), (plasma, interstitial) = jax.lax.scan(step, begin, steps)
    return DiabetesTrace(plasma, interstitial, DiabetesState(jnp.stack(x), Dm, eating, drift))
