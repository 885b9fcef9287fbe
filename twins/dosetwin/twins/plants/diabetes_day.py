"""What a person with diabetes does in a day: meals and snacks, moving, and how well carbohydrate is counted.

Everything is a function of (seed, patient's number, day). Meals begin on whole 5 min and are eaten at 5
g/min, as simglucose's patients eat. Three meals of about 45, 70 and 80 g and three snacks of 10 g, each
taken with a chance of 30 %, at the hours of its `RandomScenario` (Xie 2018); a child eats three quarters of
it (energy need at 8-10 years against adults; EFSA J 2013;11(1):3005, rounded). A person's appetite, a
meal's size and its time vary (log-SD 0.12 and 0.15, SD 30-60 min cut at 1.5 SD: our assumptions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EATING_G_PER_MIN = 5.0
GRID_MIN = 5
DAY_MIN = 1440
APPETITE: dict[str, float] = {"adult": 1.0, "adolescent": 1.0, "child": 0.75}
APPETITE_LOG_SD = 0.12
SIZE_LOG_SD = 0.15
TIMING_CUT = 1.5
MISCOUNT = 0.2
MEALS: tuple[tuple[float, float, float, float, bool], ...] = (
    (420.0, 60.0, 45.0, 1.0, False),
    (570.0, 30.0, 10.0, 0.3, True),
    (720.0, 60.0, 70.0, 1.0, False),
    (900.0, 30.0, 10.0, 0.3, True),
    (1080.0, 60.0, 80.0, 1.0, False),
    (1290.0, 30.0, 10.0, 0.3, True),
)
"""Minute of the day, SD of it, carbohydrate in g, chance, whether it is a snack."""
EXERCISE_CHANCE = 0.6
EXERCISE_FROM_MIN, EXERCISE_TO_MIN = 900.0, 1200.0
EXERCISE_LASTS_MIN = (30.0, 60.0)
HEART_RATE_RISE_PER_MIN = (30.0, 60.0)


@dataclass(frozen=True)
class Day:
    """Minutes are of the day. `miscount` is the factor by which a careless person's counts are wrong [m]."""

    meal_min: npt.NDArray[np.intp]
    meal_g: Floats
    snack: npt.NDArray[np.bool_]
    miscount: Floats
    exercise_min: int
    """-1: no exercise."""
    exercise_lasts_min: int
    heart_rate_rise_per_min: float
    sensor_loss_min: int
    """When the challenge "sensor_loss" loses the sensor: within an hour after a main meal began."""
    answers: Floats
    """[288] even in 0-1, one a decision: whether an order is missed, a low noticed."""


def day_of(seed: int, number: int, day: int, group: str = "adult") -> Day:
    """The `day`-th day of patient `number` (day 0 is the first); the draws do not depend on what is used."""
    person = np.random.default_rng([seed, number, 0xE47])
    rng = np.random.default_rng([seed, number, 0xDA1, day])
    appetite = APPETITE[group] * np.exp(APPETITE_LOG_SD * person.standard_normal())
    z = np.clip(rng.standard_normal(len(MEALS)), -TIMING_CUT, TIMING_CUT)
    size = np.exp(SIZE_LOG_SD * rng.standard_normal(len(MEALS)))
    chance = rng.random(len(MEALS))
    wrong = rng.random(len(MEALS))
    table = np.array([meal[:4] for meal in MEALS])
    begins = (np.rint((table[:, 0] + table[:, 1] * z) / GRID_MIN) * GRID_MIN).astype(np.intp)
    eaten = chance < table[:, 3]
    grams = np.maximum(np.rint(table[:, 2] * appetite * size), 1.0)
    exercise = rng.random(4)
    lost = rng.random(2)
    main = [i for i, meal in enumerate(MEALS) if not meal[4]]
    moves = exercise[0] < EXERCISE_CHANCE
    shortest, longest = EXERCISE_LASTS_MIN
    low, high = HEART_RATE_RISE_PER_MIN
    return Day(
        meal_min=begins[eaten],
        meal_g=grams[eaten],
        snack=np.array([meal[4] for meal in MEALS])[eaten],
        miscount=np.where(wrong < 0.5, 1.0 - MISCOUNT, 1.0 + MISCOUNT)[eaten],
        exercise_min=int(EXERCISE_FROM_MIN + (EXERCISE_TO_MIN - EXERCISE_FROM_MIN) * exercise[1])
        if moves
        else -1,
        exercise_lasts_min=int(shortest + (longest - shortest) * exercise[2]),
        heart_rate_rise_per_min=low + (high - low) * exercise[3],
        sensor_loss_min=int(begins[main[int(lost[0] * len(main))]] + 60.0 * lost[1]),
        answers=rng.random(DAY_MIN // GRID_MIN),
    )


def eating_g_per_min(day: Day, snacks: bool = True) -> Floats:
    """Carbohydrate eaten in each minute of the day [1440]; a meal goes on until it is eaten."""
    eaten = np.zeros(DAY_MIN)
    for begins, grams, snack in zip(day.meal_min, day.meal_g, day.snack, strict=True):
        if snack and not snacks:
            continue
        minutes = int(np.ceil(grams / EATING_G_PER_MIN))
        for k in range(minutes):
            if begins + k < DAY_MIN:
                eaten[begins + k] += min(EATING_G_PER_MIN, grams - k * EATING_G_PER_MIN)
    return eaten
