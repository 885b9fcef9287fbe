"""MAP estimates: ms a patient in batch, beside SciPy's minimiser on the same likelihood.

    python tests/benchmarks/map_estimation.py [--patients 4000] [--models oral iov ode tmdd]

Every figure is of the whole library call (records to programs, modes with probes of the prior for a second
basin, exact Hessians, predictions) and of its parts, warm; the first call's compilation is printed apart. The
peer is scipy.optimize.minimize (BFGS, numerical gradient) on the one-compartment likelihood written in NumPy,
one patient at a time. For scale: the published figure for NONMEM is about 15 ms a patient.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize

from dosetwin.twins import (
    Combined,
    Dose,
    LogNormal,
    Observation,
    Observed,
    Parameter,
    PopulationModel,
    Subject,
    estimate_individuals,
    michaelis_menten,
    one_compartment,
    predict,
    subject,
    target_mediated_qss,
    two_compartment,
)
from dosetwin.twins.simulation.cohort import cohort

SEEN = Observed("drug", "mg/L", Combined(additive=0.1, proportional=0.1))


def parameter(name: str, typical: float, omega2: float = 0.0, occasion: float = 0.0) -> Parameter:
    """A log-normal parameter; its unit does not matter here."""
    return Parameter(
        name,
        typical,
        "1",
        variability=LogNormal(omega2) if omega2 else None,
        occasion=LogNormal(occasion) if occasion else None,
    )


ORAL = PopulationModel(
    one_compartment("first_order"),
    (parameter("CL", 4.0, 0.1), parameter("V1", 30.0, 0.1), parameter("ka", 1.2, 0.2)),
    SEEN,
    source="made up for the benchmark",
)
IOV = PopulationModel(
    two_compartment(),
    (
        parameter("CL", 4.5, 0.15, 0.03),
        parameter("V1", 30.0, 0.2, 0.02),
        parameter("Q2", 6.0),
        parameter("V2", 40.0, 0.2),
    ),
    SEEN,
    source="made up for the benchmark",
)
SATURABLE = PopulationModel(
    michaelis_menten(),
    (parameter("Vmax", 20.0, 0.1), parameter("Km", 4.0, 0.1), parameter("V1", 40.0, 0.05)),
    SEEN,
    source="made up for the benchmark",
)
TARGET = PopulationModel(
    target_mediated_qss(),
    (
        parameter("CL", 0.3, 0.1),
        parameter("V1", 3.0, 0.05),
        parameter("ksyn", 0.5, 0.1),
        parameter("kdeg", 0.25),
        parameter("kint", 0.1),
        parameter("Kss", 0.6),
    ),
    SEEN,
    source="made up for the benchmark",
)


def patients(
    model: PopulationModel, n: int, doses: Sequence[Dose], times: Sequence[tuple[float, int]], seed: int
) -> list[Subject]:
    """n patients of the model itself: levels at (time, occasion), with residual error."""
    rng = np.random.default_rng(seed)
    asked = [Observation(t, occasion=k) for t, k in times]
    planned = [subject(str(i), doses, asked) for i in range(n)]
    etas = rng.standard_normal((n, len(model.varying))) @ model.population.omega.T
    made = []
    for i, f in enumerate(predict(model, planned, etas)):
        y = np.maximum(f + np.hypot(0.1, 0.1 * f) * rng.standard_normal(len(f)), 1e-3)
        levels = [Observation(t, float(v), occasion=k) for (t, k), v in zip(times, y, strict=True)]
        made.append(subject(str(i), doses, levels))
    return made


def timed(call: Callable[[], object]) -> float:
    """Seconds of the fastest of three."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return float(best)


def measure(name: str, model: PopulationModel, people: list[Subject]) -> float:
    """Print ms a patient of the whole call and of its parts; returns the whole."""
    n = len(people)
    start = time.perf_counter()
    fits = estimate_individuals(model, people)
    first = time.perf_counter() - start
    whole = 1000 * timed(lambda: estimate_individuals(model, people)) / n
    writing = 1000 * timed(lambda: cohort(model, people)) / n
    ready = cohort(model, people)
    plain = 1000 * timed(lambda: estimate_individuals(model, ready, starts=0)) / n
    print(
        f"{name:28s} {whole:8.3f} ms a patient (records {writing:.3f}, one search with Hessian and "
        f"predictions {plain:.3f}); first call {first:5.1f} s; converged {fits.converged.mean():.2%}, "
        f"two basins {np.mean(fits.basins > 1):.2%}"
    )
    return whole


def scipy_oral(people: Sequence[Subject]) -> float:
    """ms a patient of SciPy on the same likelihood, and the largest difference of its objective from ours."""
    fits = estimate_individuals(ORAL, people)
    start, worst = time.perf_counter(), 0.0
    for i, person in enumerate(people):
        given = person.evid == 1
        dosed = np.concatenate(
            [
                t + np.arange(a + 1) * ii
                for t, a, ii in zip(
                    person.time[given], person.additional[given], person.interval[given], strict=True
                )
            ]
        )
        t, y = person.time[~given], person.dv[~given]
        since = np.maximum(t[:, None] - dosed[None, :], 0.0)

        def J(eta: np.ndarray, since: np.ndarray = since, y: np.ndarray = y) -> float:
            CL, V, ka = 4.0 * np.exp(eta[0]), 30.0 * np.exp(eta[1]), 1.2 * np.exp(eta[2])
            k = CL / V
            f = (100 * ka / V / (ka - k) * (np.exp(-k * since) - np.exp(-ka * since))).sum(axis=1)
            variance = 0.01 + (0.1 * f) ** 2
            prior = eta[0] ** 2 / 0.1 + eta[1] ** 2 / 0.1 + eta[2] ** 2 / 0.2
            return float(prior + np.sum((y - f) ** 2 / variance + np.log(variance)))

        found = minimize(J, np.zeros(3), method="BFGS")
        worst = max(worst, fits.objective[i] - float(found.fun))
    elapsed = 1000 * (time.perf_counter() - start) / len(people)
    print(
        f"{'SciPy BFGS, oral':28s} {elapsed:8.3f} ms a patient; our objective at most {worst:.1e} above its"
    )
    return elapsed


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=4000)
    parser.add_argument("--models", nargs="+", default=["oral", "iov", "ode", "tmdd"])
    options = parser.parse_args()
    n = options.patients
    print(f"{n} patients, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if "oral" in options.models:
        doses = [Dose(0, 100, interval=12, additional=3)]
        people = patients(ORAL, n, doses, [(37.0, 1), (40.0, 1), (47.9, 1)], 1)
        ours = measure("1 compartment, oral, 3", ORAL, people)
        peer = scipy_oral(people[:100])
        print(f"{'':28s} ratio SciPy / ours {peer / ours:.0f}")
    if "iov" in options.models:
        doses = [Dose(24.0 * k, 500, duration=1, occasion=k + 1) for k in range(3)]
        times = [(24.0 * k + t, k + 1) for k in range(3) for t in (2.0, 10.0)]
        measure("2 compartments, IOV, 6", IOV, patients(IOV, n, doses, times, 2))
    if "ode" in options.models:
        doses = [Dose(0, 300, interval=12, additional=3)]
        measure(
            "Michaelis-Menten, ODE, 3",
            SATURABLE,
            patients(SATURABLE, n, doses, [(20.0, 1), (37.0, 1), (47.9, 1)], 3),
        )
    if "tmdd" in options.models:
        doses = [Dose(0, 100)]
        measure(
            "TMDD (QSS), ODE, 4",
            TARGET,
            patients(TARGET, n, doses, [(1.0, 1), (48.0, 1), (120.0, 1), (240.0, 1)], 4),
        )


if __name__ == "__main__":
    main()
