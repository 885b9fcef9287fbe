"""How many full updates a second the diabetes twin does, beside a straightforward peer in the same run.

    python tests/benchmarks/ensemble_update.py [--patients 1024] [--rounds 6]

A full update = assimilate one sensor reading + forecast and score 8 candidates over 4 h, with bands, orders
and reasons. The peer integrates everything (10 states) with classical RK4 in 5 min steps for every candidate
and member, in one jitted, batched kernel; it does no assimilation and makes no bands, orders or sentences.
Kernels alone are timed for 32 and 64 members, the bank for the 32 it has. The machine's float32 rate is that
of jnp.dot in the same run; operations and bytes of an update are counted, see `operations`, `bytes_moved`.
Run by hand; on a machine that does other things too, quote the ratios.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_filter import Steps, advance_batch
from dosetwin.twins.estimators.ensemble_prior import prior_ensemble
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import K_A, K_E, V_I
from dosetwin.twins.models.meal_absorption import MMOL_PER_G
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies import insulin_scores as scores

START_S = 1_800_000_000.0
CANDIDATES = 8
PEER_BATCH = 64
ASSIMILATED = 512


def derivative(s: jax.Array, u: jax.Array, p: jax.Array) -> jax.Array:
    """Hovorka 2004 as printed, all ten states; s [10, ...], p [7, ...]."""
    S1, S2, I, y1, y2, y3, D1, D2, Q1, Q2 = s  # noqa: E741
    SIT, SID, SIE, EGP0, tI, tG, AG = p
    G = Q1 / hovorka.V_G
    return jnp.stack(
        [
            u - S1 / tI,
            (S1 - S2) / tI,
            S2 / (tI * V_I) - K_E * I,
            K_A[0] * (I - y1),
            K_A[1] * (I - y2),
            K_A[2] * (I - y3),
            -D1 / tG,
            (D1 - D2) / tG,
            -hovorka.F_01 * jnp.minimum(1.0, G / 4.5)
            - SIT * y1 * Q1
            + hovorka.K_12 * Q2
            - 0.003 * hovorka.V_G * jnp.maximum(G - 9.0, 0.0)
            + AG * D2 / tG * MMOL_PER_G
            + EGP0 * jnp.maximum(1.0 - SIE * y3, 0.0),
            SIT * y1 * Q1 - (hovorka.K_12 + SID * y2) * Q2,
        ]
    )


@jax.jit
def peer(ensembles: jax.Array, u: jax.Array, bolus: jax.Array) -> tuple[jax.Array, ...]:
    """RK4 of everything; ensembles [patients, size], u [steps, candidates, patients], bolus [candidates,
    patients]."""
    x = ensembles.T.reshape(row.ROWS, row.MEMBERS, -1)
    p = jnp.exp(x[row.LN_SIT :])[:, None]
    start = jnp.concatenate([x[: row.D2 + 1], x[row.Q1 : row.Q2 + 1]])[:, None]
    s = jnp.broadcast_to(start, (10, CANDIDATES, *start.shape[2:]))
    s = s.at[0].add(bolus[:, None])
    h = 5.0

    def step(s: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        k1 = derivative(s, u, p)
        k2 = derivative(s + 0.5 * h * k1, u, p)
        k3 = derivative(s + 0.5 * h * k2, u, p)
        k4 = derivative(s + h * k3, u, p)
        s = jnp.maximum(s + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), 0.0)
        return s, s[8]

    _, Q1 = jax.lax.scan(step, s, u[:, :, None])
    glucose = Q1 * (hovorka.MG_DL_PER_MMOL_L / hovorka.V_G)
    utility = -scores.risk(jnp.log(jnp.clip(glucose, 20.0, 600.0))).mean((0, 2))
    low = glucose.min(0)
    return (
        utility,
        (low < 70.0).mean(1),
        (low < 54.0).mean(1),
        ((glucose > 70) & (glucose < 180)).mean((0, 2)),
    )


def fastest(action: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of `rounds` calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def operations(members: int) -> float:
    """Float32 operations of a candidates' kernel for one patient, counted in its source.

    A glucose step: 6 fused for the three actions (12), kinks 8, matrix and right-hand side 14, two divisions
    with what is around them 12, scores 8. Products: 2 a b for [a, b] times a column, of 3 x ([48, 21] + 2 x
    [48, 9]), [48, 49] and [17, 28]. Noise, gut and risk: 14, 12 and 25 each.
    """
    steps, points = horizon.STEPS, horizon.POINTS
    glucose = CANDIDATES * steps * (12 + 8 + 14 + 12 + 8)
    products = 2 * (3 * steps * (21 + 2 * 9) + steps * (steps + 1) + (points + 1) * 28)
    return members * (glucose + products + steps * (14 + 12) + points * CANDIDATES * 25)


def bytes_moved(members: int) -> float:
    """Bytes a candidates' kernel reads and writes between its passes for one patient, counted likewise.

    A wide array (candidate, member) is read or written 14 times in 3 steps (glucose 9, scores 5 more), the
    drive (10 numbers a member and step) is written once and read twice, a point is written once and read
    twice.
    """
    steps, points = horizon.STEPS, horizon.POINTS
    wide = CANDIDATES * (steps / 3 * 14 + points * 3)
    return 4.0 * members * (wide + 30 * steps)


def kernels(patients: int, members: int, rounds: int, seed: int) -> tuple[float, float]:
    """Seconds a patient of the assimilation kernel and of the candidates' (as many at a time as cores)."""
    rng = np.random.default_rng(seed)
    one = prior_ensemble(rng, 70.0, 40.0, members).reshape(1, -1)
    batch = jnp.asarray(np.repeat(one, ASSIMILATED, 0))
    ones = jnp.ones(ASSIMILATED, jnp.float32)
    keys = jnp.arange(ASSIMILATED, dtype=jnp.uint32)
    asked = Steps(
        5.0 * ones, 0.2 * ones, keys, 140.0 * ones, keys.astype(jnp.int32) * 0, 0.0 * ones, 0.0 * ones, keys
    )
    advance_batch(batch, asked)[0].block_until_ready()
    assimilate = fastest(lambda: advance_batch(batch, asked)[0].block_until_ready(), rounds) / ASSIMILATED
    some = batch[:PEER_BATCH]
    wide = jnp.ones((CANDIDATES, PEER_BATCH), jnp.float32)
    first = jnp.ones(PEER_BATCH, jnp.float32)
    outlook = horizon.Outlook(
        0.2 * first[None],
        0.01 * wide,
        2.0 * wide,
        70.0 * first,
        180.0 * first,
        0.05 * jnp.ones((2, PEER_BATCH)),
        keys[:PEER_BATCH],
    )
    calls = max(2, patients // PEER_BATCH)

    def all_batches() -> None:
        list(workers.map(lambda _: forecast(some, outlook).best.block_until_ready(), range(calls)))

    forecast = partial(horizon.forecast_batch, steady=True)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        all_batches()
        decide = fastest(all_batches, rounds) / (calls * PEER_BATCH)
    return assimilate, decide


def sgemm_rate(rounds: int) -> float:
    """Float32 operations a second of a product of two 2048 x 2048 matrices."""
    matrix = jnp.asarray(np.random.default_rng(0).random((2048, 2048)), jnp.float32)
    product = jax.jit(jnp.dot)
    product(matrix, matrix).block_until_ready()
    return 2.0 * 2048.0**3 / fastest(lambda: product(matrix, matrix).block_until_ready(), rounds)


def bank_times(n: int, rounds: int, seed: int) -> tuple[EnsembleBank, list[str], Times]:
    """Seconds an update of assimilating, of deciding and of processor time, fastest of `rounds`."""
    bank = EnsembleBank(n, seed)
    names = [f"p-{i:020x}" for i in range(n)]
    start = time.perf_counter()
    for name in names:
        bank.enrol(name, at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    enrolled = (time.perf_counter() - start) / n
    rng = np.random.default_rng(seed)
    times = []
    for k in range(rounds + 2):
        at_s = START_S + 300.0 * k
        readings = rng.uniform(90.0, 200.0, n).tolist()
        facts = [
            (name, TwinEvent(at_s, "observation", "glucose", readings[i], k * n + i + 1))
            for i, name in enumerate(names)
        ]
        busy = time.process_time()
        a = time.perf_counter()
        bank.assimilate(facts)
        b = time.perf_counter()
        bank.decide(names, [at_s] * n)
        c = time.perf_counter()
        if k >= 2:
            times.append(((c - a) / n, (b - a) / n, (c - b) / n, (time.process_time() - busy) / n))
    columns = np.array(times).T
    return bank, names, Times(enrolled, float(np.median(columns[0])), *(float(v) for v in columns.min(1)))


class Times(NamedTuple):
    """Seconds a twin or an update."""

    enrol: float
    median: float
    total: float
    assimilate: float
    decide: float
    processor: float


def main() -> None:
    """Print updates/s, the shares, and the peer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    n, rounds = asked.patients, asked.rounds
    bank, names, bank_s = bank_times(n, rounds, asked.seed)
    rng = np.random.default_rng(asked.seed)
    stored = jnp.asarray(np.stack([bank.ensemble(name).reshape(-1) for name in names[:PEER_BATCH]]))
    u = jnp.asarray(rng.uniform(0.1, 0.3, (horizon.STEPS, CANDIDATES, PEER_BATCH)), jnp.float32)
    bolus = jnp.asarray(rng.uniform(0.0, 40.0, (CANDIDATES, PEER_BATCH)), jnp.float32)
    peer_s = fastest(lambda: jax.device_get(peer(stored, u, bolus)), rounds + 1) / PEER_BATCH
    rate = sgemm_rate(rounds)
    us = 1e6

    print(f"{n} patients, {CANDIDATES} candidates over 4 h, {os.cpu_count()} cores")
    print(f"load average {os.getloadavg()[0]:.1f} (other processes share these cores)")
    print(f"float32 matrix product {rate / 1e9:.0f} GFLOP/s")
    print(f"bank, {row.MEMBERS} members")
    print(f"  full updates/s     best {1 / bank_s.total:8.0f}   median {1 / bank_s.median:8.0f}")
    print(f"  processor time     {us * bank_s.processor:6.1f} us an update, all threads")
    print(f"  assimilate         {us * bank_s.assimilate:6.1f} us")
    print(f"  decide             {us * bank_s.decide:6.1f} us")
    print(f"  peer, RK4 of it all {us * peer_s:5.1f} us   (forecast and scores only)")
    print(
        f"  decide is {peer_s / bank_s.decide:.1f} times as fast as the peer, the full update "
        f"{peer_s / bank_s.total:.1f} times, in the same run"
    )
    for members in (32, 64):
        assimilate_s, decide_s = kernels(n, members, rounds, asked.seed)
        total = assimilate_s + decide_s
        work, moved = operations(members), bytes_moved(members)
        print(
            f"kernels alone, {members} members: {1 / total:.0f} updates/s ({us * assimilate_s:.1f} + "
            f"{us * decide_s:.1f} us)"
        )
        print(
            f"  candidates: {work / 1e6:.2f} M operations, {work / decide_s / 1e9:.0f} GFLOP/s = "
            f"{100 * work / decide_s / rate:.0f} % of the matrix product's rate; {moved / 1e3:.0f} kB "
            f"between passes, {moved / decide_s / 1e9:.0f} GB/s"
        )
        if members == row.MEMBERS:
            host = bank_s.total - total
            print(
                f"  of a full update: kernels {100 * total / bank_s.total:.0f} %, Python, NumPy and "
                f"transfers {100 * host / bank_s.total:.0f} %"
            )
    print(f"enrol {us * bank_s.enrol:.0f} us; {bank.nbytes() / n / 1000:.1f} kB a twin")


if __name__ == "__main__":
    main()
