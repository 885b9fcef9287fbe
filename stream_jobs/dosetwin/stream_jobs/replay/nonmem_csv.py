"""A user's own recorded patients: a NONMEM-style CSV file. What each column means: COLUMNS.

Errors name the row (as in the file, header = 1), the column, what was found and what was expected.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NoReturn

from dosetwin.stream_jobs.replay.recorded_sets import steady_state
from dosetwin.stream_jobs.replay.recording import (
    DataSet,
    RecordedDose,
    RecordedLevel,
    RecordedPatient,
    RecordingError,
)
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Therapy

COLUMNS = {
    "ID": "patient (any text; only its pseudonym leaves this machine); a patient's rows ascend in TIME",
    "TIME": "hours",
    "AMT": "dose, in the drug's unit; empty, . or 0: no dose",
    "RATE": "AMT > 0: infusion over AMT/RATE hours. No AMT: a pump runs at RATE (per hour) from now on",
    "DUR": "infusion over so many hours (instead of RATE)",
    "II, ADDL, SS": "so many (ADDL) further doses every II hours; SS = 1: at steady state of AMT every II",
    "DV": "concentration, in the therapy's unit; empty or .: none",
    "CENS": "1: below DV (limit of quantification), -1: above DV",
    "EVID, MDV": "EVID 0 level, 1 dose, 2 other; MDV 1: DV is not measured. Both may be left out",
    "covariates": "one column each, named as the therapy's (AGE, WEIGHT, ...); empty: as before",
}
NUMBERS = ("TIME", "AMT", "RATE", "DUR", "II", "ADDL", "SS", "DV", "CENS", "EVID", "MDV")
MISSING = ("", ".", "NA", "NaN", "nan")


def read_csv(path: Path, therapy_id: str | None) -> DataSet:
    """The recorded patients of a CSV file.

    Raises RecordingError where the file, a column or a value is not as COLUMNS says.
    """
    if therapy_id is None:
        raise RecordingError(
            f"{path} needs a therapy",
            remedy="add --therapy vancomycin (or remifentanil, quinidine, phenobarbital)",
        )
    therapy = load_therapy(therapy_id)
    if not path.is_file():
        raise RecordingError(
            f"found no file {path}, and no recorded data set of that name; expected a CSV file",
            remedy="recorded sets are remifentanil, quinidine and phenobarb",
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        header = {name.strip().upper(): name for name in reader.fieldnames or []}
        _check_header(path, header, therapy)
        rows = [
            (number, {name: (row.get(raw) or "").strip() for name, raw in header.items()})
            for number, row in enumerate(reader, start=2)
        ]
    patients: dict[str, RecordedPatient] = {}
    last_h: dict[str, float] = {}
    for number, row in rows:
        key = row["ID"]
        if key in MISSING:
            _wrong(path, number, "ID", key, "a patient")
        patient = patients.setdefault(key, RecordedPatient(key))
        values = {name: _number(path, number, name, row.get(name, "")) for name in NUMBERS}
        at_h = values["TIME"]
        if at_h is None:
            _wrong(path, number, "TIME", row["TIME"], "hours")
        before_h = last_h.get(key, -math.inf)
        if at_h < before_h:
            _wrong(path, number, "TIME", row["TIME"], f"at least {before_h:g}, as in the row before")
        last_h[key] = at_h
        _take_covariates(path, number, row, therapy, patient, at_h)
        _take_dose(path, number, values, patient, at_h, before_h)
        _take_level(path, number, values, patient, at_h)
    return DataSet(path.stem, therapy_id, tuple(patients.values()), "a user's own file")


def _check_header(path: Path, header: dict[str, str], therapy: Therapy) -> None:
    covariates = [need.name.upper() for need in therapy.covariates]
    needed = ["ID", "TIME", "DV", *(n.name.upper() for n in therapy.covariates if n.default is None)]
    missing = [name for name in needed if name not in header]
    if missing:
        raise RecordingError(
            f"{path}, row 1: column {', '.join(missing)} is missing; found {', '.join(header) or 'none'}; "
            f"expected {', '.join(needed)}",
            remedy="`dosetwin replay --help` explains the columns; covariates of "
            f"{therapy.id}: {', '.join(covariates)}",
        )


def _take_covariates(
    path: Path, number: int, row: dict[str, str], therapy: Therapy, patient: RecordedPatient, at_h: float
) -> None:
    current = dict(patient.covariates[-1][1]) if patient.covariates else {}
    for need in therapy.covariates:
        column = need.name.upper()
        value = _number(path, number, column, row.get(column, ""))
        if value is not None:
            if not need.low <= value <= need.high:
                _wrong(path, number, column, row[column], f"{need.low:g} to {need.high:g} {need.unit}")
            current[need.name] = value
        elif need.name not in current and need.default is None:
            _wrong(path, number, column, row.get(column, ""), f"a number in {need.unit} in the first row")
    patient.note(at_h, current)


def _take_dose(
    path: Path,
    number: int,
    values: dict[str, float | None],
    patient: RecordedPatient,
    at_h: float,
    before_h: float,
) -> None:
    amount, rate, duration = values["AMT"] or 0.0, values["RATE"] or 0.0, values["DUR"] or 0.0
    for column, value in (("AMT", amount), ("RATE", rate), ("DUR", duration)):
        if value < 0:
            _wrong(path, number, column, f"{value:g}", "0 or more (NONMEM's -1 and -2 are not taken)")
    if values["EVID"] in (0, 2) and amount:
        _wrong(path, number, "EVID", f"{values['EVID']:g}", "1 where AMT is given")
    if amount == 0:
        if values["EVID"] == 1 and values["RATE"] is not None:
            patient.doses.append(RecordedDose(at_h, "rate", rate))
        return
    hours = duration or (amount / rate if rate else 0.0)
    interval, further = values["II"] or 0.0, int(values["ADDL"] or 0)
    if (further or values["SS"] == 1) and interval <= 0:
        _wrong(path, number, "II", f"{interval:g}", "hours above 0 where ADDL or SS is given")
    times = [at_h + k * interval for k in range(further + 1)]
    if values["SS"] == 1:
        times = [dose.at_h for dose in steady_state(at_h, amount, interval, before_h)] + times
    kind = "infusion" if hours else "bolus"
    patient.doses += [RecordedDose(t, kind, amount, hours) for t in times]  # type: ignore[arg-type]  # literals


def _take_level(
    path: Path, number: int, values: dict[str, float | None], patient: RecordedPatient, at_h: float
) -> None:
    value = values["DV"]
    if value is None or values["MDV"] == 1 or values["EVID"] in (1, 2):
        return
    if values["EVID"] is None and (values["AMT"] or 0) > 0:
        return
    if value < 0:
        _wrong(path, number, "DV", f"{value:g}", "a concentration of 0 or more")
    censored = {None: None, 0.0: None, 1.0: "below", -1.0: "above"}
    if values["CENS"] not in censored:
        _wrong(path, number, "CENS", f"{values['CENS']:g}", "0, 1 or -1")
    patient.levels.append(RecordedLevel(at_h, value, censored[values["CENS"]]))  # type: ignore[arg-type]  # literals


def _number(path: Path, number: int, column: str, text: str) -> float | None:
    if text in MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        _wrong(path, number, column, text, "a number")
    if not math.isfinite(value):
        _wrong(path, number, column, text, "a finite number")
    return value


def _wrong(path: Path, number: int, column: str, found: str, expected: str) -> NoReturn:
    raise RecordingError(
        f"{path}, row {number}, column {column}: found {found or 'nothing'}; expected {expected}",
        remedy="`dosetwin replay --help` explains the columns",
    )
