"""Tables of a fit: predictions and residuals of every observation, etas, shrinkage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.diagnostics.npde import REPLICATES, prediction_distribution_errors
from dosetwin.twins.diagnostics.residuals import weighted_residuals
from dosetwin.twins.inference.individuals import IndividualFits


def prediction_table(
    fits: IndividualFits,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """One row an observation record, in file order, under NONMEM's names.

    ID, TIME, OUTPUT (1-based place among the model's observed quantities), OCC, DV (NaN: only a prediction
    was asked for; of a censored one the limit), CENS (1 below DV, -1 above it, 0 measured);
    PRED = f(eta 0), IPRED = f(eta^); RES = DV - PRED, IRES = DV - IPRED, in the quantity's unit;
    IWRES, WRES, CWRES: see `dosetwin.twins.diagnostics.residuals`; NPDE, NPD: see
    `dosetwin.twins.diagnostics.npde`, by `replicates` simulations from `seed` (0: left out, NaN);
    ETA1.. in the order of `model.varying`. Residuals of a censored value are NaN.
    """
    subjects = fits.subjects
    residuals = weighted_residuals(fits)
    outputs = observed_outputs(fits.cohort)
    records = [s.evid == 0 for s in subjects]
    sizes = [int(r.sum()) for r in records]

    def column(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values) if values else np.zeros(0)

    table = pd.DataFrame(
        {
            "ID": np.repeat(np.array([s.id for s in subjects], dtype=object), sizes),
            "TIME": column([s.time[r] for s, r in zip(subjects, records, strict=True)]),
            "OUTPUT": column([o + 1 for o in outputs]).astype(np.int64),
            "OCC": column([s.occasion[r] for s, r in zip(subjects, records, strict=True)]).astype(np.int64),
            "DV": column([s.dv[r] for s, r in zip(subjects, records, strict=True)]),
            "CENS": -column([s.censored[r] for s, r in zip(subjects, records, strict=True)]).astype(np.int64),
            "PRED": column(list(fits.typical)),
            "IPRED": column(list(fits.prediction)),
        }
    )
    measured = table["DV"].where(table["CENS"] == 0)
    table["RES"], table["IRES"] = measured - table["PRED"], measured - table["IPRED"]
    table["IWRES"], table["WRES"], table["CWRES"] = residuals.iwres, residuals.wres, residuals.cwres
    table["NPDE"] = table["NPD"] = np.nan
    if replicates:
        distribution = prediction_distribution_errors(
            fits.model, fits.cohort, replicates=replicates, seed=seed, progress=progress
        )
        table["NPDE"], table["NPD"] = distribution.npde, distribution.npd
    for k, name in enumerate(fits.model.varying):
        table[f"ETA{k + 1}"] = np.repeat(fits.etas[name].to_numpy(), sizes)
    return table


def eta_table(fits: IndividualFits) -> pd.DataFrame:
    """One row a subject (index: id): ETA_<parameter> at the mode and its standard error SE_<parameter>.

    Standard errors are Laplace's, from the exact Hessian (the expected one where that is not positive).
    """
    rows = []
    for i in range(len(fits.z)):
        variance = np.diag(fits.covariance(i))
        if not (variance > 0).all():
            variance = np.diag(fits.covariance(i, exact=False))
        rows.append(np.sqrt(variance))
    names = fits.model.varying
    errors = np.array(rows).reshape(len(rows), len(names))
    table = fits.etas.rename(columns={name: f"ETA_{name}" for name in names})
    for k, name in enumerate(names):
        table[f"SE_{name}"] = errors[:, k]
    return table.rename_axis("ID")


def shrinkage(fits: IndividualFits) -> pd.DataFrame:
    """How far individual estimates shrink to the typical subject, one row an eta, kappa or residual error.

    eta: 1 - SD(eta^)/omega over subjects with an observation; kappa: likewise over their occasions;
    epsilon: 1 - SD(IWRES) of a quantity (Savic & Karlsson 2009, doi:10.1208/s12248-009-9133-0). SD about the
    mean, n - 1. Columns: kind, name, n, sd, population_sd, shrinkage (a share: 0.3 is 30 %).
    """
    model = fits.model
    informed = [s.id for s in fits.subjects if s.observed.any()]
    rows: list[tuple[str, str, int, float, float]] = []
    for name, omega in zip(model.varying, np.sqrt(np.diag(model.omega)), strict=True):
        values = fits.etas[name][fits.etas.index.isin(informed)]
        rows.append(("eta", name, len(values), _sd(values), float(omega)))
    kappas = fits.occasion_etas
    for name, gamma in zip(model.occasion_varying, np.sqrt(np.diag(model.gamma)), strict=True):
        values = kappas[name][kappas["id"].isin(informed)]
        rows.append(("kappa", name, len(values), _sd(values), float(gamma)))
    iwres = weighted_residuals(fits).iwres
    output = np.concatenate(observed_outputs(fits.cohort)) if len(fits.z) else np.zeros(0)
    for k, observed in enumerate(model.outputs):
        values = iwres[(output == k) & np.isfinite(iwres)]
        if observed.error.continuous:
            rows.append(("epsilon", observed.quantity, len(values), _sd(values), 1.0))
    table = pd.DataFrame(rows, columns=["kind", "name", "n", "sd", "population_sd"])
    table["shrinkage"] = 1 - table["sd"] / table["population_sd"]
    return table


def _sd(values: np.ndarray | pd.Series) -> float:
    return float(np.std(np.asarray(values, np.float64), ddof=1)) if len(values) > 1 else float("nan")
