"""Writing records as a data frame in NONMEM's format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dosetwin.twins.data.subject import ABOVE, BELOW, Dataset, RecordError


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """A data frame of the records under NONMEM's names; `read_nonmem` reads it back as it was.

    DV, LIMIT, DVID and the covariates are NaN where there is none; write it with
    `to_csv(path, index=False, na_rep=".")`. The reader's notes, the time unit and the rows' numbers are not
    in it. Raises RecordError where subjects have different covariates.
    """
    names = tuple(dataset.subjects[0].covariates) if len(dataset) else ()
    for subject in dataset:
        if set(subject.covariates) != set(names):
            raise RecordError(
                f"subject {subject.id}: found covariates {', '.join(subject.covariates) or 'none'}; expected "
                f"{', '.join(names) or 'none'}, as the first subject has",
                remedy="give every subject the same covariates",
            )
    if not len(dataset):
        return pd.DataFrame(columns=["ID", "TIME", "DV"])

    def column(name: str) -> Any:
        return np.concatenate([getattr(subject, name) for subject in dataset])

    censored, output = column("censored"), column("output")
    ids = np.array([subject.id for subject in dataset], dtype=object)
    return pd.DataFrame(
        {
            "ID": np.repeat(ids, [len(subject) for subject in dataset]),
            "TIME": column("time"),
            "EVID": column("evid"),
            "AMT": column("amount"),
            "RATE": column("rate"),
            "DUR": column("duration"),
            "CMT": column("compartment"),
            "II": column("interval"),
            "ADDL": column("additional"),
            "SS": column("steady_state"),
            "DV": column("dv"),
            "MDV": 1 - column("observed").astype(np.int64),
            "CENS": np.select([censored == BELOW, censored == ABOVE], [1, -1], 0),
            "LIMIT": column("lower"),
            "DVID": np.where(output > 0, output.astype(np.float64), np.nan),
            "OCC": column("occasion"),
            **{name: np.concatenate([subject.covariates[name] for subject in dataset]) for name in names},
        }
    )
