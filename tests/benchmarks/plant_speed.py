"""How many patient-days a second the glucose-insulin plant lives, beside simglucose in the same run.

    python tests/benchmarks/plant_speed.py [--patients 4096] [--rounds 5] [--peer adult#001,child#005]
    python tests/benchmarks/plant_speed.py --record tests/twins/plants/simglucose_trajectories.json

A patient-day: 1,440 steps of a minute, three meals with boluses, glucose of plasma and sensor every minute,
sensitivity that drifts and dips at dawn. The peer (simglucose 0.2.11, MIT licence) integrates the same
equations with an adaptive Runge-Kutta method, a patient at a time; it lives in an environment of its own that
this script makes with uv in .tools/simglucose, since it pins old packages. Its own parameters go through our
kernel too, and the largest difference of the trajectories is printed. Processor time is printed beside wall
time, because other processes share the machine. `--record` writes the trajectories that tests/twins/plants
compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dosetwin.twins.plants import diabetes
from dosetwin.twins.plants.diabetes_population import sample_population
from dosetwin.twins.plants.diabetes_simulation import BLOCK, DiabetesSchedule, simulate

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.simglucose_environment import peer_python  # noqa: E402

MINUTES = 1440
KEPT = ("adult#001", "adult#007", "adolescent#003", "adolescent#009", "child#002", "child#008")


def peer(python: Path, names: str) -> list[dict[str, Any]]:
    """What _simglucose_peer.py prints."""
    script = Path(__file__).with_name("_simglucose_peer.py")
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), names, str(MINUTES)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    people: list[dict[str, Any]] = json.loads(done.stdout)
    return people


def ours(people: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Plasma and interstitial glucose of the peer's patients, with the peer's parameters and inputs."""
    n = len(people)
    columns = {name: [person["parameters"].get(name, 0.0) for person in people] for name in diabetes_fields()}
    columns["u_b"] = [person["parameters"]["u2ss"] for person in people]
    p = diabetes.DiabetesParameters(**{k: jnp.asarray(v, jnp.float32) for k, v in columns.items()})
    nothing = jnp.zeros(n)
    x = jnp.asarray([person["start"] for person in people], jnp.float32).T
    start = diabetes.DiabetesState(x, nothing, jnp.zeros(n, bool), nothing)
    insulin, carbohydrate = (
        jnp.asarray([person[name] for person in people], jnp.float32).T
        for name in ("insulin_U_per_min", "carbohydrate_g_per_min")
    )
    trace = simulate(p, start, DiabetesSchedule(insulin, carbohydrate, jnp.zeros((MINUTES, n)), nothing))
    return np.asarray(trace.plasma_mg_dL), np.asarray(trace.interstitial_mg_dL)


def diabetes_fields() -> tuple[str, ...]:
    """The names of the plant's parameters; `dawn` and `drift_sd` are 0 for the peer's patients."""
    return diabetes.DiabetesParameters._fields


def record(people: list[dict[str, Any]], path: Path) -> None:
    """Write what the tests compare with: every tenth minute, and the inputs as they changed."""
    for person in people:
        for name in ("plasma_mg_dL", "subcutaneous_mg_dL"):
            person[name] = [round(v, 4) for v in person[name][9::10]]
        eaten = person.pop("carbohydrate_g_per_min")
        person["eaten_g"] = {str(k): g for k, g in enumerate(eaten) if g > 0}
        insulin = person.pop("insulin_U_per_min")
        person["basal_U_per_min"] = insulin[0]
        person["bolus_U"] = {str(k): u - insulin[0] for k, u in enumerate(insulin) if u > insulin[0]}
        person["parameters"] = {
            ("u_b" if k == "u2ss" else k): v
            for k, v in person["parameters"].items()
            if k in (*diabetes_fields(), "u2ss")
        }
        for name in ("seconds", "light_seconds"):
            del person[name]
    source = "simglucose 0.2.11 (MIT licence, Xie 2018), recorded by tests/benchmarks/plant_speed.py --record"
    lines = ",\n".join(json.dumps(person) for person in people)
    path.write_text(f'{{"source": "{source}", "people": [\n{lines}\n]}}\n')


def day(n: int) -> tuple[diabetes.DiabetesParameters, diabetes.DiabetesState, DiabetesSchedule]:
    """`n` adults at their basal state, and a day for them."""
    adults = sample_population(jax.random.key(1), n)
    minute = np.arange(MINUTES)[:, None]
    bolus = np.isin(minute, (420, 750, 1110))
    eats = ((minute[..., None] - np.array([420, 750, 1110])) % MINUTES < 15).any(-1)
    schedule = DiabetesSchedule(
        jnp.asarray(np.asarray(adults.basal_U_per_h) / 60.0 + 5.0 * bolus, jnp.float32),
        jnp.asarray(np.broadcast_to(4.0 * eats, (MINUTES, n)), jnp.float32),
        jax.random.normal(jax.random.key(2), (MINUTES, n)),
        jnp.zeros(n),
    )
    return adults, diabetes.initial(adults), schedule


@jax.jit
def rk4(
    p: diabetes.DiabetesParameters, state: diabetes.DiabetesState, schedule: DiabetesSchedule
) -> tuple[jax.Array, jax.Array]:
    """The same day by classical Runge-Kutta of all 13 states; plasma and interstitial glucose."""

    def step(s: diabetes.DiabetesState, now: Any) -> Any:
        k, insulin, carbohydrate, noise = now
        drift = diabetes.drifted(p, s.drift, noise, 1.0)
        S = diabetes.sensitivity(p, drift, schedule.start_hour + k / 60.0)
        Dm = diabetes.meal_size_mg(s.x[0] + s.x[1], s.Dm, s.eating, carbohydrate, 1.0)

        def slope(x: jax.Array) -> jax.Array:
            return diabetes.derivative(p, x, Dm, insulin, carbohydrate, S)

        k_1 = slope(s.x)
        k_2 = slope(s.x + 0.5 * k_1)
        k_3 = slope(s.x + 0.5 * k_2)
        x = s.x + (k_1 + 2.0 * k_2 + 2.0 * k_3 + slope(s.x + k_3)) / 6.0
        return diabetes.DiabetesState(x, Dm, carbohydrate > 0, drift), (x[3] / p.Vg, x[12] / p.Vg)

    inputs = (schedule.insulin_U_per_min, schedule.carbohydrate_g_per_min, schedule.noise)
    trace: tuple[jax.Array, jax.Array] = jax.lax.scan(step, state, (jnp.arange(MINUTES), *inputs))[1]
    return trace


def measured(n: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Patient-days a second of wall time and of processor time, best of rounds that take turns."""
    given = day(n)
    ways: dict[str, Any] = {
        "dosetwin": lambda: simulate(*given).plasma_mg_dL,
        "plain RK4": lambda: rk4(*given)[0],
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            a, b = time.perf_counter(), time.process_time()
            way().block_until_ready()
            spent[name].append((time.perf_counter() - a, time.process_time() - b))
    return {
        name: (n / min(wall for wall, _ in times[1:]), n / min(busy for _, busy in times[1:]))
        for name, times in spent.items()
    }


def main() -> None:
    """Print both rates, their ratio, and how far the trajectories lie apart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default="adult#001,child#005", help='names, "all", or "none"')
    parser.add_argument("--record", type=Path, help="write the test's trajectories there, and stop")
    asked = parser.parse_args()
    python = None if asked.peer == "none" else peer_python()
    if asked.record:
        if python is None:
            raise SystemExit("nothing was recorded: the peer's environment could not be made")
        record(peer(python, ",".join(KEPT)), asked.record)
        return
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} (others share them)")
    rates = {}
    for n in sorted({BLOCK, asked.patients}):
        rates[n] = measured(n, asked.rounds)
        for name, (wall, busy) in rates[n].items():
            print(f"{name:10s} {n:6d} adults   {wall:10,.0f} patient-days/s {busy:10,.0f} a processor second")
    if python is None:
        return
    people = peer(python, asked.peer)
    days = len(people)
    for name, key in (("as published", "seconds"), ("plain parameters", "light_seconds")):
        wall = days / sum(person[key]["wall"] for person in people)
        busy = days / sum(person[key]["processor"] for person in people)
        print(f"simglucose, {name:16s}{wall:10,.3f} patient-days/s {busy:10,.3f} a processor second")
        best = rates[asked.patients]["dosetwin"]
        print(f"  ratio {best[0] / wall:,.0f} by wall time, {best[1] / busy:,.0f} by processor time")
    plasma, sensed = ours(people)
    for name, mine, theirs in (("plasma", plasma, "plasma_mg_dL"), ("sensor", sensed, "subcutaneous_mg_dL")):
        gap = np.abs(mine - np.array([person[theirs] for person in people]).T)
        print(
            f"{name} of simglucose's own {days} patients: largest difference {gap.max():.2f} mg/dL, "
            f"root mean square {np.sqrt((gap**2).mean()):.3f}"
        )


if __name__ == "__main__":
    main()
