"""Writing records as a data frame in NONMEM's format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dosetwin.twins.data.subject import ABOVE, BELOW, Dataset, RecordError, Subject


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """A data frame of the records under NONMEM's names; `read_nonmem` reads it back as it was.

    DV, LIMIT, DVID and the covariates are NaN where there is none; write it with
    `to_csv(path, index=False, na_rep=".")`. The reader's notes, the time unit and the rows' numbers are not
    in it. Raises RecordError where subjects have different covariates.
    """
    names = dataset.covariates
    for subject in dataset:
        if set(subject.covariates) != set(names):
            raise RecordError(
                f"subject {subject.id}: found covariates {', '.join(subject.covariates) or 'none'}; expected "
                f"{', '.join(names) or 'none'}, as the first subject has",
                remedy="give every subject the same covariates",
            )
    frames = [_subject_frame(subject, names) for subject in dataset]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["ID", "TIME", "DV"])


def _subject_frame(subject: Subject, names: Sequence[str]) -> pd.DataFrame:
    between = np.isfinite(subject.lower)
    return pd.DataFrame(
        {
            "ID": np.full(len(subject), subject.id, dtype=object),
            "TIME": subject.time,
            "EVID": subject.evid,
            "AMT": subject.amount,
            "RATE": subject.rate,
            "DUR": subject.duration,
            "CMT": subject.compartment,
            "II": subject.interval,
            "ADDL": subject.additional,
            "SS": subject.steady_state,
            "DV": subject.dv,
            "MDV": 1 - subject.observed.astype(np.int64),
            "CENS": np.select([subject.censored == BELOW, subject.censored == ABOVE], [1, -1], 0),
            "LIMIT": np.where(between, subject.lower, np.nan),
            "DVID": np.where(subject.output > 0, subject.output.astype(np.float64), np.nan),
            "OCC": subject.occasion,
            **{name: subject.covariates[name] for name in names},
        }
    )
