"""How many full decisions a second the diabetes twin does: for one patient, for a thousand, for many.

    python tests/benchmarks/ensemble_update.py [--patients 1 1000] [--rounds 6]

A full decision = assimilate one sensor reading (hypotheses included) + forecast and score every candidate
over 5 h under the law, with bands, orders, reasons and what would have changed them. Kernels alone are timed
too. The machine's float32 rate is that of jnp.dot in the same run. Run by hand; on a machine that does other
things too, quote the processor time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_filter import Steps, advance_batch, read_out_batch
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies.insulin_candidates import CANDIDATES

START_S = 1_800_000_000.0
BATCH = 256


class Times(NamedTuple):
    """Seconds a decision, fastest round; `processor`: of all threads."""

    total: float
    assimilate: float
    decide: float
    processor: float


def fastest(action: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of `rounds` calls, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def bank_times(n: int, rounds: int, seed: int) -> tuple[EnsembleBank, list[str], Times]:
    """Seconds a decision of `n` patients that decide together."""
    bank = EnsembleBank(n, seed)
    names = [f"p-{i:020x}" for i in range(n)]
    for name in names:
        bank.enrol(name, at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    rng = np.random.default_rng(seed)
    times = []
    for k in range(rounds + 2):
        at_s = START_S + 300.0 * k
        readings = rng.uniform(90.0, 200.0, n).tolist()
        facts = [
            (name, TwinEvent(at_s, "observation", "glucose", readings[i], k * n + i + 1))
            for i, name in enumerate(names)
        ]
        busy, a = time.process_time(), time.perf_counter()
        bank.assimilate(facts)
        b = time.perf_counter()
        bank.decide(names, [at_s] * n)
        c = time.perf_counter()
        if k >= 2:
            times.append(((c - a) / n, (b - a) / n, (c - b) / n, (time.process_time() - busy) / n))
    return bank, names, Times(*(float(v) for v in np.array(times).min(0)))


def kernels(bank: EnsembleBank, name: str, rounds: int) -> dict[str, float]:
    """Seconds a patient of each kernel; as many batches at a time as there are cores."""
    stored = np.zeros((BATCH, row.SIZE), np.float32)
    stored[:, : row.STATES] = bank.ensemble(name).reshape(-1)
    one, key = jnp.ones(BATCH, jnp.float32), jnp.arange(BATCH, dtype=jnp.uint32)
    none = 0.0 * one
    steps = Steps(
        h_min=5.0 * one,
        u=0.2 * one,
        minute=480.0 * one,
        key=key,
        reading=140.0 * one,
        censored=jnp.zeros(BATCH, jnp.int32),
        bolus=none,
        meal=none,
        meal_key=key,
        exercise=none,
        fresh_site=none,
        meal_mean=0.6 * one,
    )
    wide = jnp.ones((len(CANDIDATES), BATCH), jnp.float32)
    outlook = horizon.Outlook(
        infused=none[None],
        basal=0.2 * one,
        rate=0.2 * wide,
        bolus=2.0 * wide,
        correction=0.3 * one,
        goal=105.0 * one,
        low=70.0 * one,
        high=180.0 * one,
        bounds=0.03 * jnp.ones((2, BATCH)),
        floor=54.0 * one,
        minute=480.0 * one,
        key=key,
    )
    members = stored[:, : row.STATES]
    asked: dict[str, Callable[[], jax.Array]] = {
        "assimilate": lambda: advance_batch(stored, steps)[0],
        "read out": lambda: read_out_batch(stored, key, 0.6 * one, 480.0 * one)[0],
        "forecast": lambda: horizon.forecast_batch(members, outlook).scores,
    }
    found = {}
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as workers:
        for what, call in asked.items():

            def all_cores(call: Callable[[], jax.Array] = call) -> None:
                list(workers.map(lambda _: call().block_until_ready(), range(2 * cores)))

            found[what] = fastest(all_cores, rounds) / (2 * cores * BATCH)
    return found


def main() -> None:
    """Print decisions/s and where the time goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    us = 1e6
    print(f"{len(CANDIDATES)} candidates over 5 h, {row.MEMBERS} members, {os.cpu_count()} cores")
    print(f"load average {os.getloadavg()[0]:.1f} (other processes share these cores)")
    matrix = jnp.asarray(np.random.default_rng(0).random((2048, 2048)), jnp.float32)
    rate = 2.0 * 2048.0**3 / fastest(lambda: jnp.dot(matrix, matrix).block_until_ready(), asked.rounds)
    print(f"float32 matrix product {rate / 1e9:.0f} GFLOP/s")
    for n in asked.patients:
        bank, names, spent = bank_times(n, asked.rounds, asked.seed)
        print(
            f"{n:7d} patients: {1 / spent.total:8.0f} decisions/s; "
            f"{us * spent.assimilate:.1f} us to assimilate, "
            f"{us * spent.decide:.1f} us to decide, {us * spent.processor:.1f} us of processor time; "
            f"{bank.nbytes() / n / 1000:.1f} kB a twin"
        )
    for what, seconds in kernels(bank, names[0], asked.rounds).items():
        print(f"  kernel alone, {what}: {us * seconds:.1f} us")


if __name__ == "__main__":
    main()
