"""Outlying observations: how much weight each level kept, and a model whose errors bound their pull."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd

from dosetwin.twins.data.subject import OBSERVATION
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Combined, LogError, PopulationModel, Power, StudentT
from dosetwin.twins.precision import double_precision

DOUBTFUL = 0.5
"""A level that kept less than this share of its weight is named."""
FAR = 4.0
"""Residual standard deviations from which a level under a normal error is named (our assumption)."""


def robust(model: PopulationModel, freedom: float = 4.0) -> PopulationModel:
    """The model with Student's t of `freedom` degrees in place of every normal residual error.

    Categories and counts stay. Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852: 4 degrees are
    their choice where the data cannot tell. Raises ModelError where no error can be replaced.
    """
    outputs = tuple(
        replace(observed, error=StudentT(observed.error, freedom))
        if isinstance(observed.error, Combined | LogError | Power)
        else observed
        for observed in model.outputs
    )
    if outputs == model.outputs:
        raise ModelError("found no normal residual error in the model; expected at least one to make robust")
    return replace(
        model,
        observed=outputs,
        origin=None,
        source=f"{model.source}; residual errors as Student's t with {freedom:g} degrees of freedom",
    )


def outliers(fits: IndividualFits) -> pd.DataFrame:
    """One row a measured level, the most outlying first.

    id, time, quantity, value, prediction (at the mode), residual (standardised on the error's scale), weight
    (the share of its normal weight that the level kept: 1 under a normal error), sentence (empty for an
    inconspicuous level).
    """
    model = fits.model
    rows = []
    for batch in fits.cohort.batches:
        o = batch.program.observations
        for row, i in enumerate(batch.index):
            subject = fits.subjects[i]
            times = subject.time[subject.evid == OBSERVATION]
            for n, time in enumerate(times):
                censored = 0 if o.censored is None else int(o.censored[row, n])
                observed = model.outputs[int(o.output[row, n])]
                if o.mask[row, n] == 0 or censored or not observed.error.continuous:
                    continue
                s = jnp.asarray(model.population.residual[int(o.output[row, n])])
                value, f = float(o.value[row, n]), float(fits.prediction[i][n])
                with double_precision():
                    error, y, at = observed.error, jnp.asarray(value), jnp.asarray(f)
                    residual = float((error.scale(y) - error.scale(at)) / error.sd(at, s))
                    kept = float(error.weight(y, at, s)) if isinstance(error, StudentT) else 1.0
                said = _sentence(
                    subject.id,
                    float(time),
                    model.time_unit,
                    observed.quantity,
                    observed.unit,
                    value,
                    f,
                    residual,
                    kept,
                )
                rows.append(
                    [subject.id, float(time), observed.quantity, value, f, residual, kept, said, int(i), n]
                )
    columns = [
        "id",
        "time",
        "quantity",
        "value",
        "prediction",
        "residual",
        "weight",
        "sentence",
        "order",
        "n",
    ]
    table = pd.DataFrame(rows, columns=columns)
    far = np.abs(table["residual"].to_numpy(np.float64))
    table = table.assign(far=-far).sort_values(["weight", "far", "order", "n"], kind="stable")
    return table.drop(columns=["far", "order", "n"]).reset_index(drop=True)


def _sentence(
    id: str,
    time: float,
    time_unit: str,
    quantity: str,
    unit: str,
    value: float,
    f: float,
    residual: float,
    kept: float,
) -> str:
    if kept >= DOUBTFUL and abs(residual) < FAR:
        return ""
    side = "above" if residual > 0 else "below"
    level = (
        f"{quantity} {value:g} {unit} of subject {id} at {time:g} {time_unit} lies {abs(residual):.1f} "
        f"residual standard deviations {side} the {f:.3g} {unit} that its other data suggest"
    )
    check = "check the time of the sample, the dose and the assay"
    if kept < DOUBTFUL:
        return f"{level}; it counted {100 * kept:.0f} % of an ordinary level: {check}."
    return f"{level}, and counted in full: {check}, or estimate with robust(model)."
