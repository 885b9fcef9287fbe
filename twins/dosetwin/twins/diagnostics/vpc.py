"""Visual predictive checks: percentiles of the observations against those of simulated trials.

For each time bin: the 5th, 50th and 95th percentile of the observations, and the same percentile of each of R
simulated data sets, of which the median and a confidence band over the R are kept. Prediction-corrected
(Bergstrand, Hooker, Wallin & Karlsson 2011, doi:10.1208/s12248-011-9255-z, with lower bound 0): observed and
simulated values alike are multiplied by

    (median of PRED in the bin) / PRED_ij

Binning rule: where there are no more distinct times than bins, each is a bin of its own. Else edges are put
so that bins hold about equal numbers of observations, never between records of the same time; the default
number is one bin for 20 observations, at least 1 and at most 12. A bin stands at the median of its times.

Below the limit of quantification: observed censored values, and simulated ones below the same limit, count as
lower than everything; a percentile that falls among them is NaN, and their share is checked as a curve of its
own. Values censored above are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.data.subject import DOSE, RESET_AND_DOSE, Subject
from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.diagnostics.simulate import simulated
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import Cohort, cohort
from dosetwin.twins.simulation.prediction import predict

Values = npt.NDArray[np.float64]
PERCENTILES = (0.05, 0.5, 0.95)
OBSERVATIONS_A_BIN = 20
MOST_BINS = 12


@dataclass(frozen=True)
class VPC:
    """A predictive check of one quantity.

    bins: one row a stratum and bin: stratum, low, high, time, n, below (observed share below the limit),
    below_low, below_median, below_high (simulated); for each percentile 05, 50, 95: observed_05, low_05,
    median_05, high_05 and so on. observations: stratum, ID, time, value (NaN where censored), corrected.
    """

    bins: pd.DataFrame
    observations: pd.DataFrame
    quantity: str
    unit: str
    time_unit: str
    prediction_corrected: bool
    replicates: int
    confidence: float
    stratified_by: str = ""
    after_dose: bool = False

    @property
    def censored(self) -> bool:
        """Whether there are values below a limit of quantification."""
        return bool((self.bins["below"] > 0).any() or (self.bins["below_median"] > 0).any())


def visual_predictive_check(
    model: PopulationModel,
    subjects: Iterable[Subject] | Cohort,
    *,
    replicates: int = 500,
    seed: int = 0,
    prediction_corrected: bool = False,
    bins: int | Sequence[float] | None = None,
    stratify: str = "",
    output: int = 1,
    lloq: float | None = None,
    confidence: float = 0.9,
    time: Literal["time", "after_dose"] = "time",
    progress: Callable[[float], None] | None = None,
) -> VPC:
    """Simulate `replicates` trials of the same subjects and compare percentiles; see this module's rules.

    bins: how many, or the edges, in the data's time unit. stratify: a covariate (by its value at the record;
    more than 4 different values are cut at the median). output: which observed quantity (1-based). lloq: the
    limit of quantification; None takes the highest limit among censored records, where there are any.
    confidence: level of the bands. time: as in the data, or since the last dose record. Raises ModelError for
    an unknown covariate or output, or where nothing was observed.
    """
    prepared = subjects if isinstance(subjects, Cohort) else cohort(model, list(subjects))
    if not 1 <= output <= len(model.outputs):
        raise ModelError(f"found output {output}; expected 1 to {len(model.outputs)}")
    observed = model.outputs[output - 1]
    table, used = _observations(prepared, output, stratify, time)
    if table.empty:
        raise ModelError(f"no {observed.quantity} was observed", remedy="check DV, MDV and DVID of the data")
    typical = predict(model, prepared)
    table["PRED"] = np.concatenate([f[u] for f, u in zip(typical, used, strict=True)])
    drawn = simulated(model, prepared, replicates, seed, progress=progress)
    trials = np.concatenate([d.y[:, u] for d, u in zip(drawn, used, strict=True)], axis=1)
    keep = (table["CENS"] >= 0).to_numpy().copy()
    if prediction_corrected:
        keep &= (table["PRED"] > 0).to_numpy()
    table, trials = table[keep].reset_index(drop=True), trials[:, keep]
    limit = _limit(table, lloq)
    y = np.where(table["CENS"] == 1, -np.inf, table["DV"].to_numpy())
    y = np.where(y < limit, -np.inf, y)
    trials = np.where(trials < limit, -np.inf, trials)
    corrected = np.full(len(table), np.nan)
    rows = []
    for stratum, members in table.groupby("stratum", sort=True):
        place = members.index.to_numpy()
        at = members["time"].to_numpy()
        edges = _edges(at, bins)
        which = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
        for b in np.unique(which):
            mine = place[which == b]
            factor = np.ones(len(mine))
            if prediction_corrected:
                pred = table["PRED"].to_numpy()[mine]
                factor = np.median(pred) / pred
            corrected[mine] = y[mine] * factor
            row = {
                "stratum": stratum,
                "low": edges[b],
                "high": edges[b + 1],
                "time": float(np.median(table["time"].to_numpy()[mine])),
                "n": len(mine),
            }
            rows.append(row | _checked(corrected[mine], trials[:, mine] * factor, confidence))
    shown = np.where(np.isfinite(corrected), corrected, np.nan)
    observations = pd.DataFrame(
        {
            "stratum": table["stratum"],
            "ID": table["ID"],
            "time": table["time"],
            "value": np.where(np.isfinite(y), y, np.nan),
            "corrected": shown,
        }
    )
    return VPC(
        pd.DataFrame(rows),
        observations,
        observed.quantity,
        observed.unit,
        model.time_unit,
        prediction_corrected,
        replicates,
        confidence,
        stratify,
        time == "after_dose",
    )


def _checked(y: Values, trials: Values, confidence: float) -> dict[str, float]:
    """Percentiles and share below the limit, observed and simulated, of one bin."""
    tails = (0.5 * (1 - confidence), 0.5, 1 - 0.5 * (1 - confidence))
    trials = trials[~np.isnan(trials).any(axis=1)]
    share = np.isneginf(trials).mean(axis=1) if len(trials) else np.zeros(1)
    row = {"below": float(np.isneginf(y).mean())}
    names = ("low", "median", "high")
    row |= {f"below_{name}": float(np.quantile(share, q)) for name, q in zip(names, tails, strict=True)}
    for p in PERCENTILES:
        label = f"{100 * p:02.0f}"
        row[f"observed_{label}"] = float(_percentile(y[None, :], p)[0])
        simulated_percentile = _percentile(trials, p)
        for name, q in zip(names, tails, strict=True):
            value = _percentile(simulated_percentile[None, :], q)[0] if len(trials) else np.nan
            row[f"{name}_{label}"] = float(value)
    return row


def _percentile(values: Values, p: float) -> Values:
    """Percentile along the last axis, linear between order statistics; NaN where it touches -infinity."""
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values), axis=-1)
    place = p * (ordered.shape[-1] - 1)
    low, high = ordered[..., int(np.floor(place))], ordered[..., int(np.ceil(place))]
    finite = np.isfinite(low) & np.isfinite(high)
    share = place - np.floor(place)
    safe_low, safe_high = np.where(finite, low, 0.0), np.where(finite, high, 0.0)
    found: Values = np.where(finite, safe_low + share * (safe_high - safe_low), np.nan)
    return found


def _observations(
    prepared: Cohort, output: int, stratify: str, time: str
) -> tuple[pd.DataFrame, list[npt.NDArray[np.int64]]]:
    """The observations of one quantity, and their places among each subject's observation records."""
    frames, used = [], []
    for s, o in zip(prepared.subjects, observed_outputs(prepared), strict=True):
        records = np.flatnonzero(s.evid == 0)
        places = np.flatnonzero((o == output - 1) & np.isfinite(s.dv[records]))
        used.append(places)
        rows = records[places]
        if stratify and stratify not in s.covariates:
            raise ModelError(
                f"found stratify={stratify!r}; expected a covariate of subject {s.id}: "
                f"{', '.join(s.covariates) or 'none'}"
            )
        frames.append(
            pd.DataFrame(
                {
                    "ID": s.id,
                    "time": _since_dose(s, rows) if time == "after_dose" else s.time[rows],
                    "DV": s.dv[rows],
                    "CENS": -s.censored[rows],
                    "stratum": s.covariates[stratify][rows] if stratify else 0.0,
                }
            )
        )
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"ID": []})
    if not table.empty:
        table["stratum"] = _strata(table["stratum"].to_numpy(np.float64), stratify)
    return table, used


def _strata(values: Values, name: str) -> list[str]:
    if not name:
        return [""] * len(values)
    different = np.unique(values)
    if len(different) <= 4:
        return [f"{name} = {v:g}" for v in values]
    middle = float(np.median(values))
    return [f"{name} <= {middle:g}" if v <= middle else f"{name} > {middle:g}" for v in values]


def _since_dose(s: Subject, rows: npt.NDArray[np.int64]) -> Values:
    """Time since the last dose at or before each row, additional doses counted; NaN-free: 0 before any."""
    found = np.zeros(len(rows))
    doses = np.flatnonzero(np.isin(s.evid, (DOSE, RESET_AND_DOSE)))
    for k, row in enumerate(rows):
        gaps = [0.0] if not (doses < row).any() else []
        for d in doses[doses < row]:
            gap = s.time[row] - s.time[d]
            if s.additional[d] and s.interval[d] > 0:
                gap -= min(int(s.additional[d]), int(np.floor(gap / s.interval[d]))) * s.interval[d]
            gaps.append(float(gap))
        found[k] = max(min(gaps), 0.0)
    return found


def _limit(table: pd.DataFrame, lloq: float | None) -> float:
    if lloq is not None:
        return lloq
    limits = table.loc[table["CENS"] == 1, "DV"]
    return float(limits.max()) if len(limits) else -np.inf


def _edges(at: Values, bins: int | Sequence[float] | None) -> Values:
    if bins is not None and not isinstance(bins, int):
        given = np.unique(np.asarray(bins, np.float64))
        if len(given) < 2:
            raise ModelError(f"found bin edges {list(bins)}; expected at least two")
        return given
    wanted = bins or int(np.clip(len(at) // OBSERVATIONS_A_BIN, 1, MOST_BINS))
    if wanted < 1:
        raise ModelError(f"found {bins} bins; expected 1 or more")
    times, counts = np.unique(at, return_counts=True)
    middle = 0.5 * (times[1:] + times[:-1])
    if len(times) <= wanted:
        inner = middle
    else:
        filled = np.cumsum(counts)[:-1]
        targets = np.arange(1, wanted) * len(at) / wanted
        inner = middle[np.unique([int(np.argmin(np.abs(filled - target))) for target in targets])]
    edges: Values = np.concatenate([[times[0]], inner, [times[-1] if len(times) > 1 else times[0] + 1]])
    return np.unique(edges) if len(np.unique(edges)) > 1 else np.array([times[0], times[0] + 1.0])
