"""How many full updates a second the diabetes twin does, beside a straightforward peer in the same run.

    python tests/benchmarks/ensemble_update.py [--patients 1024] [--rounds 6]

A full update = assimilate one sensor reading + forecast and score 8 candidates over 4 h on 32 members, with
bands, orders and reasons. The peer integrates everything (10 states) with classical RK4 in 5 min steps for
every candidate and member, in one jitted, batched kernel; it does no assimilation and makes no bands, orders
or sentences. Run by hand; on a machine that does other things too, quote the ratio.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import K_A, K_E, V_I
from dosetwin.twins.models.meal_absorption import MMOL_PER_G
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies import insulin_scores as scores

START_S = 1_800_000_000.0
CANDIDATES = 8
PEER_BATCH = 64


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


def main() -> None:
    """Print updates/s, the shares, and the peer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    n = asked.patients
    bank = EnsembleBank(n, asked.seed)
    names = [f"p-{i:020x}" for i in range(n)]
    start = time.perf_counter()
    for name in names:
        bank.enrol(name, at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    enrolled = time.perf_counter() - start
    rng = np.random.default_rng(asked.seed)
    assimilate, decide, processor = [], [], []
    for k in range(asked.rounds + 2):
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
            assimilate.append((b - a) / n)
            decide.append((c - b) / n)
            processor.append((time.process_time() - busy) / n)
    total = [a + d for a, d in zip(assimilate, decide, strict=True)]
    best = min(total)

    stored = jnp.asarray(np.stack([bank.ensemble(name).reshape(-1) for name in names[:PEER_BATCH]]))
    u = jnp.asarray(rng.uniform(0.1, 0.3, (horizon.STEPS, CANDIDATES, PEER_BATCH)), jnp.float32)
    bolus = jnp.asarray(rng.uniform(0.0, 40.0, (CANDIDATES, PEER_BATCH)), jnp.float32)
    peer_s = fastest(lambda: jax.device_get(peer(stored, u, bolus)), asked.rounds + 1) / PEER_BATCH
    print(f"{n} patients, {row.MEMBERS} members, {CANDIDATES} candidates over 4 h, {os.cpu_count()} cores")
    print(f"load average {os.getloadavg()[0]:.1f} (other processes share these cores)")
    print(f"full updates/s       best {1 / best:8.0f}   median {1 / np.median(total):8.0f}")
    print(f"processor time       {1e6 * min(processor):6.1f} us an update, all threads")
    print(f"  assimilate         {1e6 * min(assimilate):6.1f} us   {100 * min(assimilate) / best:3.0f} %")
    print(f"  decide             {1e6 * min(decide):6.1f} us   {100 * min(decide) / best:3.0f} %")
    print(f"peer, RK4 of it all  {1e6 * peer_s:6.1f} us   (forecast and scores only)")
    print(f"decide is {peer_s / min(decide):.1f} times as fast as the peer, in the same run")
    print(f"enrol {1e6 * enrolled / n:.0f} us; {bank.nbytes() / n / 1000:.1f} kB a twin")


if __name__ == "__main__":
    main()
