"""What the format's columns mean, and what the reader says that it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.data.subject import RecordError
from tests.twins.data import recorded_sets


def written(tmp_path: Path, text: str, name: str = "levels.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


COLUMNS = "ID,TIME,EVID,AMT,RATE,DUR,CMT,II,ADDL,SS,DV,MDV,DVID,OCC,WT"


def test_every_item_lands_where_it_belongs(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"{COLUMNS}\n"
        "7,0,1,100,20,.,2,12,3,1,.,1,.,1,70\n"
        "7,1.5,0,.,.,.,1,.,.,.,4.25,0,2,1,70\n"
        "7,2,1,50,-2,.,1,.,.,.,.,1,.,2,71\n"
        "7,3,1,50,.,0.5,1,.,.,.,.,1,.,2,71\n"
        "7,4,2,.,.,.,.,.,.,.,.,1,.,2,72\n"
        "7,0,4,80,-1,.,1,.,.,.,.,1,.,3,72\n"
        "7,9,3,.,.,.,.,.,.,.,.,1,.,3,72\n",
    )
    dataset = read_nonmem(path, time_unit="d")
    (patient,) = dataset
    assert patient.id == "7"
    assert dataset.time_unit == "d"
    assert dataset.source == "levels.csv"
    expected = {
        "time": [0, 1.5, 2, 3, 4, 0, 9],
        "evid": [1, 0, 1, 1, 2, 4, 3],
        "amount": [100, 0, 50, 50, 0, 80, 0],
        "rate": [20, 0, -2, 0, 0, -1, 0],
        "duration": [0, 0, 0, 0.5, 0, 0, 0],
        "compartment": [2, 1, 1, 1, 0, 1, 0],
        "interval": [12, 0, 0, 0, 0, 0, 0],
        "additional": [3, 0, 0, 0, 0, 0, 0],
        "steady_state": [1, 0, 0, 0, 0, 0, 0],
        "dv": [np.nan, 4.25, np.nan, np.nan, np.nan, np.nan, np.nan],
        "output": [0, 2, 0, 0, 0, 0, 0],
        "occasion": [1, 1, 2, 2, 2, 3, 3],
        "row": [1, 2, 3, 4, 5, 6, 7],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(patient, name), values, err_msg=name)
    np.testing.assert_array_equal(patient.covariates["WT"], [70, 70, 71, 71, 72, 72, 72])
    assert dataset.notes == ()
    assert dataset.observations == 1


@pytest.mark.parametrize("mark", [",", ";", "\t", " ", "   "])
def test_the_delimiter_is_found_from_the_header(tmp_path: Path, mark: str) -> None:
    lines = ["ID TIME AMT DV", "001 0 100 .", "001 1 . 5D-1"]
    path = written(tmp_path, "\r\n".join(line.replace(" ", mark) for line in lines))
    (patient,) = read_nonmem(path)
    assert patient.id == "001"
    np.testing.assert_array_equal(patient.dv, [np.nan, 0.5])


def test_a_decimal_comma_is_read_when_asked_for_and_named_when_not(tmp_path: Path) -> None:
    path = written(tmp_path, "ID;TIME;AMT;DV\n1;0;100;.\n1;0,5;.;5,25\n")
    (patient,) = read_nonmem(path, decimal=",")
    np.testing.assert_array_equal(patient.time, [0, 0.5])
    with pytest.raises(RecordError, match="row 2") as error:
        read_nonmem(path)
    assert 'decimal=","' in error.value.remedy


def test_comments_repeated_headers_flags_and_empty_rows_are_left_out_and_noted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# made by hand\nC,ID,TIME,AMT,DV\n.,1,0,100,.\n\nC,1,0.5,.,99\n#,1,0.6,.,99\n"
        "C,ID,TIME,AMT,DV\n,,,,\n.,1,1,.,5\n",
    )
    dataset = read_nonmem(path)
    assert dataset.notes[:4] == (
        "2 comment rows left out",
        "1 repeated headers left out",
        "1 empty rows left out",
        "1 rows left out that column C marks as comments",
    )
    np.testing.assert_array_equal(dataset["1"].time, [0, 1])
    np.testing.assert_array_equal(dataset["1"].row, [1, 3])


def test_a_column_c_of_numbers_is_no_flag(tmp_path: Path) -> None:
    dataset = read_nonmem(written(tmp_path, "ID,TIME,AMT,DV,C\n1,0,100,.,4\n1,1,.,5,4\n"))
    np.testing.assert_array_equal(dataset["1"].covariates["C"], [4, 4])


def test_ignore_at_leaves_out_rows_that_begin_with_a_letter(tmp_path: Path) -> None:
    path = written(tmp_path, "ID,TIME,AMT,DV\nP1,0,100,.\nP1,1,.,5\n1,0,100,.\n1,1,.,5\n")
    assert [patient.id for patient in read_nonmem(path)] == ["P1", "1"]
    assert [patient.id for patient in read_nonmem(path, ignore="@")] == ["1"]


def test_names_stand_for_a_missing_header(tmp_path: Path) -> None:
    path = written(tmp_path, "1 0 100 .\n1 1 . 5\n")
    with pytest.raises(RecordError, match="no header") as error:
        read_nonmem(path)
    assert "names=" in error.value.remedy
    assert read_nonmem(path, names=("ID", "TIME", "AMT", "DV")).observations == 1
    dropped = read_nonmem(path, names=("ID", "TIME", "DROP", "DV"))
    assert "1 DROP columns left out" in dropped.notes
    assert not dropped[0].amount.any()


def test_a_table_that_nonmem_wrote_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "TABLE NO.  1\n ID          TIME        AMT         DV\n"
        "  1.0000E+00  0.0000E+00  1.0000E+02  0.0000E+00\n"
        "  1.0000E+00  2.0000E+00  0.0000E+00  4.5000E+00\n",
    )
    dataset = read_nonmem(path)
    assert dataset[0].id == "1"
    np.testing.assert_array_equal(dataset[0].dv, [np.nan, 4.5])


def test_identifiers_are_text_and_keep_their_zeros() -> None:
    frame = pd.DataFrame({"ID": ["01", "01", "1", "A-7"], "TIME": [0, 1, 0, 0], "AMT": 1.0, "EVID": 1})
    assert [patient.id for patient in read_nonmem(frame)] == ["01", "1", "A-7"]
    assert [patient.id for patient in read_nonmem(frame.assign(ID=[1.0, 1.0, 2.5, 3.0]))] == ["1", "2.5", "3"]


def test_an_identifier_that_comes_back_needs_a_rule() -> None:
    frame = pd.DataFrame(
        {"ID": [1, 2, 1], "TIME": [0.0, 0.0, 5.0], "AMT": [1.0, 1.0, np.nan], "DV": [np.nan] * 3}
    )
    with pytest.raises(RecordError, match="row 3, subject 1, column ID") as error:
        read_nonmem(frame)
    assert 'repeated_ids="new"' in error.value.remedy
    assert [patient.id for patient in read_nonmem(frame, repeated_ids="new")] == ["1", "2", "1#2"]
    joined = read_nonmem(frame, repeated_ids="join")
    assert [patient.id for patient in joined] == ["1", "2"]
    np.testing.assert_array_equal(joined["1"].row, [1, 3])
    assert any("joined" in note for note in joined.notes)


def test_evid_and_mdv_are_derived_where_they_are_missing() -> None:
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [0, 0, 1, 2], "AMT": [5, 0, np.nan, 0], "DV": [np.nan, 0, 2, np.nan]}
    )
    dataset = read_nonmem(frame)
    np.testing.assert_array_equal(dataset[0].evid, [1, 0, 0, 0])
    np.testing.assert_array_equal(dataset[0].observed, [False, True, True, False])
    assert "1 observation rows without DV kept as prediction points" in dataset.notes


def test_mdv_makes_a_prediction_point() -> None:
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [0, 1, 2], "AMT": [5, 0, 0], "MDV": [1, 1, 0], "DV": [0, 7.0, 3.0]}
    )
    dataset = read_nonmem(frame)
    np.testing.assert_array_equal(dataset[0].evid, [1, 0, 0])
    np.testing.assert_array_equal(dataset[0].dv, [np.nan, np.nan, 3])
    assert "1 rows with EVID=0 and MDV=1 kept as prediction points; DV of 1 of them not used" in dataset.notes


def test_a_level_written_in_a_dose_row_is_left_out_only_with_mdv() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1], "AMT": [5.0, 0.0], "DV": [7.0, 3.0], "EVID": [1, 0]})
    with pytest.raises(RecordError, match="found 7 with EVID=1; expected no DV on a dose record"):
        read_nonmem(frame)
    dataset = read_nonmem(frame.assign(MDV=[1, 0]))
    assert dataset.observations == 1
    assert any("DV of 1 rows that are no observations left out" in note for note in dataset.notes)


def test_columns_are_renamed_and_synonyms_are_noted() -> None:
    frame = pd.DataFrame({"Subject": 1, "hours": [0, 1], "amt": [5, 0], "conc": [np.nan, 3], "Wt": 70.0})
    dataset = read_nonmem(frame, columns={"HOURS": "TIME", "Wt": "weight"})
    assert dataset.covariates == ("weight",)
    assert {"column Subject read as ID", "column conc read as DV"} <= set(dataset.notes)
    with pytest.raises(RecordError, match="no column Hour;") as error:
        read_nonmem(frame, columns={"Hour": "TIME"})
    assert "did you mean hours?" in error.value.remedy


def test_two_columns_cannot_get_one_name() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0], "DV": 1.0, "WT": 70, "BW": 71, "CONC": 2.0})
    with pytest.raises(RecordError, match="columns WT and BW for WT"):
        read_nonmem(frame, columns={"BW": "WT"})
    with pytest.raises(RecordError, match="columns DV and CONC for DV"):
        read_nonmem(frame, columns={"CONC": "DV"})
    swapped = read_nonmem(frame, columns={"CONC": "DV", "DV": "OTHER"})
    assert swapped[0].dv[0] == 2
    assert swapped.covariates == ("OTHER", "WT", "BW")


def test_a_frame_of_python_numbers_has_one_subject_for_one_and_one_point_nought() -> None:
    frame = pd.DataFrame({"ID": [1, 1.0], "TIME": [0, None], "DV": [1, 2]}, dtype=object)
    frame.loc[1, "TIME"] = 3
    assert [patient.id for patient in read_nonmem(frame)] == ["1"]


def test_a_comma_at_the_end_of_every_line_is_no_column(tmp_path: Path) -> None:
    dataset = read_nonmem(written(tmp_path, "ID,TIME,DV,\n1,0,5,\n1,1,6,\n"))
    assert dataset.observations == 2
    assert dataset.covariates == ()


def test_a_reserved_name_can_be_freed_by_renaming_it() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1], "AMT": [5, 0], "DV": [np.nan, 3], "DUR": [2.0, 2.0]})
    with pytest.raises(RecordError, match="column DUR: found 2 with EVID=0"):
        read_nonmem(frame)
    assert read_nonmem(frame, columns={"DUR": "ILLNESS_DAYS"}).covariates == ("ILLNESS_DAYS",)


def test_covariates_are_carried_within_a_subject_only() -> None:
    frame = pd.DataFrame(
        {"ID": [1, 1, 1, 1, 2, 2], "TIME": [0, 1, 2, 3, 0, 1], "AMT": 0, "DV": 1.0}
        | {"WT": [np.nan, 70, np.nan, 72, np.nan, 55]}
    )
    dataset = read_nonmem(frame)
    np.testing.assert_array_equal(dataset["1"].covariates["WT"], [70, 70, 70, 72])
    np.testing.assert_array_equal(dataset["2"].covariates["WT"], [55, 55])
    assert "WT: 3 empty cells take the value before (else after)" in dataset.notes
    with pytest.raises(RecordError, match="row 5, subject 2, column WT: found nothing in any row"):
        read_nonmem(frame.assign(WT=[70.0, *[np.nan] * 5]))


def test_text_is_coded_or_left_out_and_an_error_where_it_was_asked_for() -> None:
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [0, 1], "AMT": 0, "DV": 1.0, "SEX": ["M", "F"], "DVID": ["cp", "pca"], "WT": 70}
    )
    codes = {"DVID": {"cp": 1, "pca": 2}}
    dataset = read_nonmem(frame, categories=codes)
    assert dataset.covariates == ("WT",)
    assert any(
        note.startswith("column SEX left out") and 'categories={"SEX": {"M": 0, "F": 1}}' in note
        for note in dataset.notes
    )
    np.testing.assert_array_equal(dataset[0].output, [1, 2])
    with pytest.raises(RecordError, match="column SEX: found 'M'; expected a number") as error:
        read_nonmem(frame, categories=codes, covariates=("SEX", "WT"))
    assert 'categories={"SEX": {"M": 0, "F": 1}}' in error.value.remedy
    coded = read_nonmem(frame, categories=codes | {"sex": {"M": 1, "F": 0}}, covariates=("SEX",))
    np.testing.assert_array_equal(coded[0].covariates["SEX"], [1, 0])
    with pytest.raises(RecordError, match="column SEX: found 'F'; expected one of M"):
        read_nonmem(frame, categories=codes | {"SEX": {"M": 1}})


def test_a_mark_for_missing_values_can_be_a_number() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1], "AMT": 0, "DV": [1.0, -99.0], "WT": [70, -99]})
    dataset = read_nonmem(frame, missing=(".", "-99"))
    np.testing.assert_array_equal(dataset[0].dv, [1, np.nan])
    np.testing.assert_array_equal(dataset[0].covariates["WT"], [70, 70])


def test_the_dose_is_scaled_with_its_rate_but_not_its_codes() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1], "AMT": [2.0, 2.0], "RATE": [0.5, -2.0], "EVID": 1})
    dataset = read_nonmem(frame, dose_scale=1000)
    np.testing.assert_array_equal(dataset[0].amount, [2000, 2000])
    np.testing.assert_array_equal(dataset[0].rate, [500, -2])


def test_the_steady_state_of_a_constant_infusion_needs_no_interval() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0], "EVID": 1, "AMT": 0, "RATE": 5.0, "SS": 1, "II": 0})
    assert read_nonmem(frame)[0].steady_state[0] == 1
    with pytest.raises(RecordError, match="expected above 0 with SS"):
        read_nonmem(frame.assign(AMT=10))


def test_rate_and_duration_may_stand_together_where_they_agree() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0], "AMT": 100, "RATE": 50.0, "DUR": 2.0})
    dataset = read_nonmem(frame)
    assert (dataset[0].rate[0], dataset[0].duration[0]) == (50, 0)
    with pytest.raises(RecordError, match="both with AMT = RATE x DUR"):
        read_nonmem(frame.assign(DUR=3.0))


def test_a_table_without_doses_or_without_observations_is_read() -> None:
    assert read_nonmem(pd.DataFrame({"ID": 1, "TIME": [0, 1], "DV": 1.0})).observations == 2
    doses = read_nonmem(pd.DataFrame({"ID": 1, "TIME": [0, 1], "AMT": [1.0, 0.0]}))
    assert doses.observations == 0
    np.testing.assert_array_equal(doses[0].evid, [1, 0])


def test_the_recorded_sets_are_read_whole() -> None:
    phenobarb = read_nonmem(recorded_sets.phenobarb())
    assert (len(phenobarb), phenobarb.observations) == (59, 155)
    assert sum(len(patient) for patient in phenobarb) == 744
    assert phenobarb.covariates == ("WT", "APGR")
    np.testing.assert_array_equal(phenobarb["1"].amount[:3], [25, 0, 3.5])
    np.testing.assert_array_equal(phenobarb["1"].dv[:3], [np.nan, 17.3, np.nan])
    theophylline = read_nonmem(recorded_sets.theophylline())
    assert (len(theophylline), theophylline.observations) == (12, 132)
    assert theophylline["1"].amount[0] == pytest.approx(4.02 * 79.6)
    indomethacin = read_nonmem(recorded_sets.indomethacin())
    assert (len(indomethacin), indomethacin.observations) == (6, 66)
    quinidine = read_nonmem(
        recorded_sets.quinidine(), categories={"CREATININE": {">= 50": 70.0, "< 50": 35.0}}
    )
    assert (len(quinidine), quinidine.observations) == (136, 361)
    assert sum(int((patient.evid == 1).sum()) for patient in quinidine) == 1028
    assert all((patient.interval[patient.steady_state > 0] > 0).all() for patient in quinidine)
