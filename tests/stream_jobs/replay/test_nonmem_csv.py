from __future__ import annotations

from pathlib import Path

import pytest

from dosetwin.stream_jobs.replay.nonmem_csv import read_csv
from dosetwin.stream_jobs.replay.recording import RecordedDose, RecordedLevel, RecordingError

HEADER = "ID,TIME,AMT,RATE,DUR,II,ADDL,SS,DV,CENS,EVID,AGE,WEIGHT,SEX,CREATININE\n"
FIRST = "a,0,1000,1000,,,,,,,1,60,80,1,1.0\n"


def read(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return path


def test_every_kind_of_row(tmp_path: Path) -> None:
    text = (
        HEADER
        + FIRST  # infusion over AMT/RATE = 1 h
        + "a,11.5,.,,,,,,9.5,,0,,,,\n"
        + "a,12,750,,0.75,12,2,,,,1,,,,1.6\n"  # infusion over DUR, two more every 12 h, new creatinine
        + "a,47,,,,,,,5,1,0,,,,\n"  # below 5
        + "b,0,500,,,8,,1,,,,70,60,0,0.8\n"  # bolus at steady state
        + "b,3,,200,,,,,,,1,,,,\n"  # a pump's rate
        + "b,4,,0,,,,,,,1,,,,\n"
        + "b,5,,,,,,,14,,,,,,\n"
    )
    data_set = read_csv(read(tmp_path, text), "vancomycin")
    data_set.check()
    a, b = data_set.patients
    assert a.doses == [
        RecordedDose(0.0, "infusion", 1000.0, 1.0),
        *(RecordedDose(t, "infusion", 750.0, 0.75) for t in (12.0, 24.0, 36.0)),
    ]
    assert a.levels == [RecordedLevel(11.5, 9.5), RecordedLevel(47.0, 5.0, "below")]
    assert [at for at, _ in a.covariates] == [0.0, 12.0]
    assert a.covariates[1][1]["creatinine"] == 1.6
    assert b.doses[-3:] == [
        RecordedDose(0.0, "bolus", 500.0),
        RecordedDose(3.0, "rate", 200.0),
        RecordedDose(4.0, "rate", 0.0),
    ]
    assert [dose.at_h for dose in b.doses[:-3]] == [-8.0 * k for k in range(9, 0, -1)]
    assert data_set.levels == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (FIRST + "a,x,,,,,,,9,,0,,,,\n", "row 3, column TIME: found x; expected a number"),
        (
            FIRST + "a,12,,,,,,,9,,0,,,,\na,3,,,,,,,9,,0,,,,\n",
            "row 4, column TIME: found 3; expected at least",
        ),
        (FIRST + "a,12,-5,,,,,,,,1,,,,\n", "row 3, column AMT: found -5; expected 0 or more"),
        (FIRST + "a,12,5,-2,,,,,,,1,,,,\n", "row 3, column RATE: found -2"),
        (FIRST + "a,12,5,,,,,,,,0,,,,\n", "row 3, column EVID: found 0; expected 1 where AMT is given"),
        (FIRST + "a,12,5,,,,3,,,,1,,,,\n", "row 3, column II: found 0; expected hours above 0"),
        (FIRST + "a,12,,,,,,,-1,,0,,,,\n", "row 3, column DV: found -1; expected a concentration"),
        (FIRST + "a,12,,,,,,,5,7,0,,,,\n", "row 3, column CENS: found 7; expected 0, 1 or -1"),
        (FIRST + ",12,,,,,,,5,,0,,,,\n", "row 3, column ID: found nothing; expected a patient"),
        ("a,0,,,,,,,5,,0,60,80,1,\n", "row 2, column CREATININE: found nothing; expected a number in mg/dL"),
        ("a,0,,,,,,,5,,0,60,8000,1,1\n", "row 2, column WEIGHT: found 8000; expected 25 to 300 kg"),
        ("a,0,,,,,,,inf,,0,60,80,1,1\n", "row 2, column DV: found inf; expected a finite number"),
    ],
)
def test_errors_name_row_column_found_expected(tmp_path: Path, rows: str, words: str) -> None:
    with pytest.raises(RecordingError) as raised:
        read_csv(read(tmp_path, HEADER + rows), "vancomycin")
    assert words in str(raised.value)


def test_files_and_headers(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="column DV, CREATININE is missing; found ID, TIME, AGE"):
        read_csv(read(tmp_path, "ID,TIME,AGE,WEIGHT,SEX\n"), "vancomycin")
    with pytest.raises(RecordingError, match="found no file"):
        read_csv(tmp_path / "nowhere.csv", "vancomycin")
    with pytest.raises(RecordingError, match="needs a therapy"):
        read_csv(tmp_path / "mine.csv", None)
