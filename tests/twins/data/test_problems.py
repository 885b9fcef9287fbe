"""Each thing that cannot mean anything is named: row, line, column, found, expected, what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.data.subject import RecordError

FULL = "ID,TIME,EVID,AMT,RATE,DUR,CMT,II,ADDL,SS,DV,MDV,CENS,LIMIT,DVID,OCC,WT"
DOSE = {"ID": "1", "TIME": "0", "EVID": "1", "AMT": "100", "MDV": "1", "OCC": "1", "WT": "70"}
LEVEL = {"ID": "1", "TIME": "1", "EVID": "0", "DV": "5", "MDV": "0", "DVID": "1", "OCC": "1", "WT": "70"}


def table(*rows: dict[str, str]) -> str:
    names = FULL.split(",")
    return "\n".join(
        [FULL, "# a comment, so that lines and rows differ"]
        + [",".join(row.get(name, ".") for name in names) for row in rows]
    )


@pytest.mark.parametrize(
    ("kind", "change", "column", "found", "expected"),
    [
        ("dose", {"AMT": "1oo"}, "AMT", "'1oo'", "a number"),
        ("dose", {"AMT": "1_0"}, "AMT", "'1_0'", "a number"),
        ("dose", {"AMT": "-5"}, "AMT", "-5", "0 or more"),
        ("dose", {"AMT": "1e999"}, "AMT", "inf", "a finite number"),
        ("level", {"DV": "inf"}, "DV", "'inf'", "a number"),
        ("level", {"DV": "BLQ"}, "DV", "'BLQ'", "a number"),
        ("dose", {"RATE": "-3"}, "RATE", "-3", "0 or more, -1 (rate by the model)"),
        ("dose", {"DUR": "-1"}, "DUR", "-1", "0 or more"),
        ("dose", {"RATE": "10", "DUR": "1"}, "DUR", "1", "either a RATE or a DUR"),
        ("dose", {"RATE": "-2", "DUR": "1"}, "DUR", "1", "either a RATE or a DUR"),
        ("dose", {"AMT": "0", "RATE": "10"}, "AMT", "0", "an amount above 0 with a RATE"),
        ("dose", {"ADDL": "3"}, "II", "0", "above 0 with ADDL"),
        ("dose", {"ADDL": "2.5", "II": "12"}, "ADDL", "2.5", "a whole number"),
        ("dose", {"ADDL": "-3", "II": "12"}, "ADDL", "-3", "0 or more"),
        ("dose", {"SS": "1"}, "II", "0", "above 0 with SS"),
        ("dose", {"SS": "3", "II": "12"}, "SS", "3", "0, 1 or 2"),
        ("dose", {"SS": "1", "II": "12", "AMT": "0"}, "AMT", "0", "above 0 with SS and II"),
        ("dose", {"SS": "1", "II": "12", "AMT": "0", "RATE": "5"}, "II", "12", "0 for the steady state"),
        ("dose", {"SS": "1", "ADDL": "2", "AMT": "0", "RATE": "5"}, "ADDL", "2", "0 for the steady state"),
        ("dose", {"II": "-12"}, "II", "-12", "0 or more"),
        ("dose", {"CMT": "-1"}, "CMT", "-1", "0 (default) or more"),
        ("dose", {"CMT": "1.5"}, "CMT", "1.5", "a whole number"),
        ("dose", {"CMT": "1e12"}, "CMT", "1e+12", "a whole number"),
        ("dose", {"CMT": "gut"}, "CMT", "'gut'", "a number"),
        ("dose", {"EVID": "101"}, "EVID", "101", "0 (observation)"),
        ("dose", {"EVID": "0"}, "AMT", "100 with EVID=0", "0 or ."),
        ("dose", {"EVID": "2"}, "AMT", "100 with EVID=2", "0 or ."),
        ("dose", {"EVID": "3"}, "AMT", "100 with EVID=3", "0 or ."),
        ("level", {"SS": "1"}, "SS", "1 with EVID=0", "0 or ."),
        ("dose", {"DV": "5", "MDV": "0"}, "DV", "5 with EVID=1", "no DV on a dose record"),
        ("level", {"MDV": "2"}, "MDV", "2", "0 (DV is an observation) or 1"),
        ("level", {"MDV": "101"}, "MDV", "101", "0 (DV is an observation) or 1"),
        ("level", {"DV": "."}, "DV", "nothing", "a value where MDV=0"),
        ("level", {"CENS": "2"}, "CENS", "2", "1 (below DV), 0 or -1 (above DV)"),
        ("level", {"CENS": "1", "DV": "."}, "CENS", "1", "a limit of quantification with it"),
        ("level", {"CENS": "-1", "DV": "."}, "DV", "nothing", "the limit where CENS=-1"),
        ("level", {"CENS": "1", "LIMIT": "5"}, "LIMIT", "5", "below DV where CENS=1"),
        ("level", {"CENS": "-1", "LIMIT": "4"}, "LIMIT", "4", "above DV where CENS=-1"),
        ("level", {"CENS": "-1", "DV": "<5"}, "CENS", "-1", "the same as DV says"),
        ("level", {"DVID": "0"}, "DVID", "0", "1 or more"),
        ("level", {"DVID": "3"}, "DVID", "3", "at most 2"),
        ("level", {"OCC": "1.5"}, "OCC", "1.5", "a whole number"),
        ("level", {"TIME": "."}, "TIME", "nothing", "a time"),
        ("level", {"TIME": "-1"}, "TIME", "-1 after 0", "a time not before the record above"),
        ("level", {"ID": "."}, "ID", "nothing", "an identifier in every row"),
        ("level", {"WT": "7o"}, "WT", "'7o'", "a number"),
    ],
)
def test_one_wrong_cell_is_named(
    tmp_path: Path, kind: str, change: dict[str, str], column: str, found: str, expected: str
) -> None:
    path = tmp_path / "levels.csv"
    rows = [DOSE | change, LEVEL] if kind == "dose" else [DOSE, LEVEL | change]
    path.write_text(table(*rows))
    with pytest.raises(RecordError) as error:
        read_nonmem(path, outputs=2)
    row = 1 if kind == "dose" else 2
    (problem,) = error.value.problems
    assert (problem.row, problem.line, problem.column) == (row, row + 2, column)
    assert problem.found == found
    assert problem.expected.startswith(expected)
    assert problem.remedy
    assert error.value.remedy == problem.remedy
    assert str(error.value).startswith(f"levels.csv row {row} (line {row + 2})")


def test_the_table_of_those_cases_is_right_without_the_change(tmp_path: Path) -> None:
    path = tmp_path / "levels.csv"
    path.write_text(table(DOSE, LEVEL))
    assert read_nonmem(path, outputs=2).observations == 1


def test_all_problems_come_at_once_in_the_order_of_rows_and_at_most_twenty() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": range(30), "EVID": 1, "AMT": -1.0, "RATE": -7.0})
    with pytest.raises(RecordError) as error:
        read_nonmem(frame)
    problems = error.value.problems
    assert [problem.row for problem in problems] == [k for k in range(1, 11) for _ in range(2)]
    assert [problem.column for problem in problems[:2]] == ["AMT", "RATE"]
    assert "data frame: 60 problems" in str(error.value)
    assert "and 40 more" in str(error.value)
    assert "line" not in str(error.value)


def test_infinite_values_of_a_frame_are_named() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0, 1.0], "DV": [1.0, np.inf], "WT": [-np.inf, 70.0]})
    with pytest.raises(RecordError) as error:
        read_nonmem(frame)
    assert [(p.row, p.column, p.found) for p in error.value.problems] == [(1, "WT", "-inf"), (2, "DV", "inf")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("# nothing\n", "found an empty file"),
        ("ID,TIME,AMT,DV\n", "found no data rows"),
        ("ID,TIME,WT\n1,0,70\n", "expected also AMT or DV"),
        ("TIME,AMT\n0,70\n", "expected also ID"),
        ("ID,TIME,AMT,amt\n1,0,1,1\n", "found column amt beside column AMT"),
        ("ID,TIME,AMT,conc,y\n1,0,1,1,1\n", "each of which may be DV"),
        ("ID,TIME,DV,CONT\n1,0,1,1\n", "records that go over several rows"),
        ("ID,TIME,DV\n1,0,1,5\n", "row 1 (line 2): found 4 cells; expected 3"),
        ("ID,TIME,DV\n1,0\n", "row 1 (line 2): found 2 cells; expected 3"),
    ],
)
def test_a_table_that_is_no_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "levels.csv"
    path.write_text(text)
    with pytest.raises(RecordError) as error:
        read_nonmem(path)
    assert message in str(error.value)
    assert error.value.remedy


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        read_nonmem(tmp_path / "absent.csv")
    spreadsheet = tmp_path / "levels.xlsx"
    spreadsheet.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(RecordError, match="expected UTF-8 text"):
        read_nonmem(spreadsheet)
    with pytest.raises(RecordError, match="found no rows"):
        read_nonmem(pd.DataFrame())


def test_unused_reserved_columns_are_noted_not_taken_for_covariates() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0], "DV": 1.0, "PCMT": 1, "L2": 1, "CONT": 0})
    dataset = read_nonmem(frame)
    assert dataset.covariates == ()
    assert {note.split()[1] for note in dataset.notes if "not used" in note} == {"PCMT", "L2"}
