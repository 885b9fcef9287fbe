"""How fast the batched estimator is beside SciPy's minimiser on the same likelihood, one patient at a time.

Run: python tests/benchmarks/map_estimation.py [patients]. Times are of this machine as it is, warm.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.optimize import minimize

from dosetwin.twins.estimators.history_batch import batches
from dosetwin.twins.estimators.history_likelihood import negative_log_posterior
from dosetwin.twins.estimators.map_laplace import find_mode
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.precision import double_precision
from dosetwin.twins.therapies.vancomycin import GOTI_2018 as MODEL


def main(n: int) -> None:
    """Print ms a patient of both, and their ratio."""
    rng = np.random.default_rng(0)
    patients = []
    for _ in range(n):
        covariates = {
            "age": rng.uniform(20, 90),
            "weight": rng.uniform(45, 130),
            "sex": float(rng.integers(0, 2)),
            "creatinine": rng.uniform(0.6, 3.0),
            "haemodialysis": 0.0,
        }
        doses = [(12.0 * k, 1.0, 0.0, 1000.0) for k in range(6)]
        levels = [(t, float(rng.uniform(5, 35)), 0) for t in np.sort(rng.uniform(2, 70, 4)).tolist()]
        patients.append(Arrays(0.0, doses, levels, [(-1.0, covariates)]))
    made = list(batches(MODEL, patients))
    objective = partial(negative_log_posterior, MODEL.structure, MODEL.observed.error)
    wait: Any = jax.block_until_ready
    batched = jax.jit(jax.vmap(partial(find_mode, MODEL.structure, MODEL.observed.error), in_axes=(0, None)))
    single = jax.jit(lambda h, load, z: (objective(h, load, z), jax.jacfwd(objective, argnums=2)(h, load, z)))
    with double_precision():
        for batch in made:
            wait(batched(batch.history, MODEL.loading))
        start = time.perf_counter()
        found = [wait(batched(batch.history, MODEL.loading)) for batch in made]
        ours_ms = 1000 * (time.perf_counter() - start) / n

        def look(z: Any, history: Any) -> Any:
            value, gradient = single(history, MODEL.loading, z)
            return float(value), np.asarray(gradient)

        checked, worst, elapsed = min(n, 64), 0.0, 0.0
        rows = [
            (batch, mode, row) for batch, mode in zip(made, found, strict=True) for row in range(batch.count)
        ]
        for k, (batch, mode, row) in enumerate(rows[: checked + 1]):
            history = jax.tree.map(lambda leaf, row=row: leaf[row], batch.history)
            start = time.perf_counter()
            slow = minimize(
                look, np.zeros(3), args=(history,), jac=True, method="BFGS", options={"gtol": 1e-7}
            )
            elapsed += time.perf_counter() - start if k else 0.0  # the first one compiles
            worst = max(worst, float(np.abs(slow.x - np.asarray(mode.z[row])).max()))
    scipy_ms = 1000 * elapsed / max(len(rows[1 : checked + 1]), 1)
    print(f"batched, {n} patients, mode and Laplace covariance: {ours_ms:.3f} ms/patient")
    print(f"scipy.optimize.minimize (BFGS, exact gradients, compiled likelihood): {scipy_ms:.3f} ms/patient")
    print(f"ratio {scipy_ms / ours_ms:.0f}; largest difference of a standardised eta {worst:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
