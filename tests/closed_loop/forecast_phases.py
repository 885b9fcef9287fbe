"""Are forecasts right in every phase of a meal? The twin's, on another model's patients, in closed loop.

    python -m tests.closed_loop.forecast_phases --group adult --seed 12 [--announced]

The loop lives on the UVA/Padova plant. Every half hour the members that decisions rest on are carried on with
the insulin that was really given afterwards (which the law of a forecast cannot know), where nothing more is
eaten meanwhile. Printed for each horizon and time since the last meal of 25 g or more: the median less the
truth (mg/dL), and how often the truth lies below the 5 % and above the 95 % quantile: 5 % each if right.
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_filter import propagate
from dosetwin.twins.loop_group import LoopGroup
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.trials.glucose_plant import STEP_MIN, GlucosePlant
from dosetwin.twins.trials.trial import Cohort

EVERY = 6
"""Decisions from one forecast to the next."""
HORIZONS_MIN = (60, 120, 180, 240)
PHASES_MIN = ((0, 30), (30, 90), (90, 150), (150, 210), (210, 300), (300, 9000))
MEAL_G = 25.0
QUANTILES = (0.05, 0.5, 0.95)

Floats = npt.NDArray[np.floating[Any]]


class Watched(EnsembleBank):
    """A bank that keeps the members each decision rested on."""

    def __init__(self, capacity: int, seed: int) -> None:
        super().__init__(capacity, seed)
        self.kept: list[npt.NDArray[np.float32]] = []

    def _read_out(self, *given: Any) -> Any:
        members, inferred = super()._read_out(*given)
        every = len(self.kept) % EVERY == 0
        self.kept.append(members.reshape(len(members), row.ROWS, -1) if every else members[:0])
        return members, inferred


def minutes_to_food(carbohydrate_g: Floats) -> tuple[Floats, Floats]:
    """[n, T] minutes since a meal of MEAL_G or more began, and to the next food (9999: none)."""
    since, until = np.full(carbohydrate_g.shape, 9999.0), np.full(carbohydrate_g.shape, 9999.0)
    for i, eaten in enumerate(carbohydrate_g):
        began, following = -1, -1
        for t in range(len(eaten)):
            fresh = eaten[t] > 0 and not eaten[max(0, t - 6) : t].any()
            began = t if fresh and eaten[t : t + 6].sum() >= MEAL_G else began
            since[i, t] = (t - began) * STEP_MIN if began >= 0 else 9999.0
        for t in range(len(eaten) - 1, -1, -1):
            following = t if eaten[t] > 0 else following
            until[i, t] = (following - t) * STEP_MIN if following >= 0 else 9999.0
    return since, until


def main() -> None:
    """Live, carry the members on, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", choices=("adult", "adolescent", "child"), default="adult")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--announced", action="store_true")
    given = parser.parse_args()
    keep_compilations()

    announced = {"announced": "yes" if given.announced else "no"}
    plant = GlucosePlant(Cohort(range(given.patients), given.seed, given.days, given.group, "", announced))
    loop = LoopGroup("t1d-insulin", plant.patients, seed=given.seed)
    bank = loop._bank = Watched(given.patients, given.seed)
    facts = plant.begin()
    while plant.at_s < plant.end_s:
        loop.tell(facts)
        facts = plant.advance(loop.decide(plant.at_s))
    traces = plant.outcome().traces
    glucose, insulin = traces["plasma_glucose"], traces["insulin"]
    since, until = minutes_to_food(traces["carbohydrate"])
    steps, n = glucose.shape[1], given.patients
    weight = np.array([float(patient.given["weight_kg"]) for patient in plant.patients])
    longest = max(HORIZONS_MIN) // STEP_MIN
    found: dict[tuple[int, int], list[Floats]] = {}

    @jax.jit
    def step(x: jax.Array, u: jax.Array, key: jax.Array, minute: jax.Array) -> jax.Array:
        return propagate(x, jnp.full(n, float(STEP_MIN)), u, key, minute)

    lanes = jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(977)
    for start in range(36, steps, EVERY):
        x = jnp.moveaxis(jnp.asarray(bank.kept[start]), 0, 2)
        for k in range(min(longest, steps - start)):
            t = start + k
            u = jnp.asarray(insulin[:, t] * 1000.0 / STEP_MIN / weight, jnp.float32)
            x = step(x, u, lanes + jnp.uint32(7919 * t + 1), jnp.full(n, float(t * STEP_MIN % 1440)))
            horizon = (k + 1) * STEP_MIN
            if horizon not in HORIZONS_MIN:
                continue
            low, middle, high = np.quantile(
                np.asarray(x[row.Q1]) * (MG_DL_PER_MMOL_L / V_G), QUANTILES, axis=0
            )
            truth = glucose[:, t]
            scored = np.stack([middle - truth, truth < low, truth > high], 1)
            for p, (after, before) in enumerate(PHASES_MIN):
                then = (since[:, start] >= after) & (since[:, start] < before)
                found.setdefault((horizon, p), []).append(scored[then & (until[:, start] > horizon + 15)])
    print("ahead  since meal      cases   median - truth   below 5 %   above 95 %")
    for (horizon, p), parts in sorted(found.items()):
        cases = np.concatenate(parts)
        if len(cases) >= 20:
            bias, below, above = cases.mean(0)
            phase = "{}-{}".format(*PHASES_MIN[p])
            print(
                f"{horizon:4d}   {phase:12s} {len(cases):7d} {bias:13.1f} "
                f"{100 * below:13.1f} {100 * above:11.1f}"
            )


if __name__ == "__main__":
    main()
