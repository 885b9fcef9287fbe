"""A plan says what it is; its folder takes no other run, and nothing that is half written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dosetwin.stream_jobs.trial.folder import RunFolder
from dosetwin.stream_jobs.trial.plan import CHUNK, TrialError, TrialPlan
from dosetwin.stream_jobs.trial.run import TrialRequest, command, make_plan
from dosetwin.stream_jobs.trial.source import absolute, code_fingerprint, find_trial
from dosetwin.twins.trials.trial import Outcome

WARD = Path(__file__).with_name("one_compartment.py")
PLAN = TrialPlan(
    source=f"{WARD}:trial", plant="ward", patients=45, days=1.0, seed=3, policies=("proportional", "fixed")
)
OUTCOME = Outcome(
    {"in_range_pct": np.array([1.0, np.nan])},
    np.array([0.0, 60.0, 120.0]),
    {"level": np.arange(6, dtype=np.float32).reshape(2, 3)},
)


def test_cells_cover_every_patient_once_under_each_policy_and_challenge() -> None:
    plan = replace(PLAN, first_patient=7, challenges=("", "slow"))
    cells = plan.cells()
    assert len({cell.name for cell in cells}) == len(cells)
    for challenge in plan.challenges:
        for policy in plan.policies:
            mine = [c for c in cells if (c.challenge, c.policy) == (challenge, policy)]
            assert [k for c in mine for k in range(c.first, c.first + c.count)] == list(range(7, 52))
            assert all(c.count <= CHUNK for c in mine)
            assert len({c.count for c in mine}) <= 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"patients": 0}, "found 0 patients"),
        ({"days": 0.0}, "found 0 days"),
        ({"days": float("nan")}, "found nan days"),
        ({"seed": -1}, "found seed -1"),
        ({"first_patient": -2}, "found first patient -2"),
        ({"policies": ()}, "found no policy"),
    ],
)
def test_an_impossible_plan_is_refused(change: dict[str, object], found: str) -> None:
    with pytest.raises(TrialError, match=found):
        replace(PLAN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (
            TrialRequest(f"{WARD}:trial", policies=("pid",)),
            "--policy pid; this trial has proportional, fixed",
        ),
        (TrialRequest(f"{WARD}:trial", policies=("dosetwin",)), "--policy dosetwin"),
        (TrialRequest(f"{WARD}:trial", plant="moon"), "--plant moon; this trial has ward"),
        (TrialRequest(f"{WARD}:trial", group="adult"), "--group adult; this trial has none"),
        (
            TrialRequest(f"{WARD}:trial", challenges=("war",)),
            "--challenge war; this trial has none, all, slow",
        ),
        (TrialRequest(f"{WARD}:trial", options=("pace_s",)), "--option pace_s; expected name=value"),
        (TrialRequest(f"{WARD}:trial", options=("speed=2",)), "--option speed; this trial has pace_s"),
    ],
)
def test_an_unknown_name_is_refused_and_says_what_there_is(request_: TrialRequest, found: str) -> None:
    with pytest.raises(TrialError, match=found):
        make_plan(request_, find_trial(request_.source))


def test_defaults_are_the_trials_and_all_is_none_and_each() -> None:
    trial = find_trial(f"{WARD}:trial")
    plan = make_plan(TrialRequest(f"{WARD}:trial", challenges=("all",), options=("pace_s=0",)), trial)
    assert (plan.days, plan.plant, plan.policies) == (2.0, "ward", ("proportional", "fixed"))
    assert plan.challenges == ("", "slow")
    words = command(plan)
    assert words.startswith(f"dosetwin trial {WARD}:trial --plant ward --patients 20 --days 2 --seed 0")
    third = make_plan(TrialRequest(f"{WARD}:trial", days=1 / 3), trial)
    assert f"--days {1 / 3!r} " in command(third)
    assert words.endswith("--challenge none --challenge slow --option pace_s=0")


def test_a_file_without_a_trial_says_so(tmp_path: Path) -> None:
    assert absolute("vancomycin") == "vancomycin"
    with pytest.raises(TrialError, match="no file"):
        find_trial(str(tmp_path / "none.py"))
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(TrialError, match="has no Trial called trial; it has none"):
        find_trial(str(empty))
    empty.write_text("x = 1 / 0\n")
    with pytest.raises(TrialError, match="ZeroDivisionError"):
        find_trial(str(empty))
    with pytest.raises(TrialError, match="has no Trial called ward; it has trial, broken"):
        find_trial(f"{WARD}:ward")


def test_the_codes_fingerprint_changes_with_the_trials_own_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(WARD.read_text())
    second.write_text(WARD.read_text().replace("TARGET_MG_L = 10.0", "TARGET_MG_L = 11.0"))
    same = tmp_path / "same.py"
    same.write_text(WARD.read_text())
    assert code_fingerprint(f"{first}:trial") == code_fingerprint(f"{same}:trial")
    assert code_fingerprint(f"{first}:trial") != code_fingerprint(f"{second}:trial")


def test_an_outcome_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cell = PLAN.cells()[0]
    with RunFolder(tmp_path / "run", PLAN, "c0de") as folder:
        assert not folder.finished(cell)
        folder.keep(cell, OUTCOME)
        assert folder.finished(cell)
        kept = folder.outcome(cell)
    np.testing.assert_array_equal(kept.measures["in_range_pct"], OUTCOME.measures["in_range_pct"])
    np.testing.assert_array_equal(kept.time_s, OUTCOME.time_s)
    np.testing.assert_array_equal(kept.traces["level"], OUTCOME.traces["level"])
    assert kept.traces["level"].dtype == np.float32
    assert not list((tmp_path / "run").rglob("*.new"))


@pytest.mark.parametrize("how", ["cut off", "empty", "of another run"])
def test_a_chunk_that_is_not_whole_is_simulated_again(tmp_path: Path, how: str) -> None:
    cell = PLAN.cells()[0]
    with RunFolder(tmp_path, PLAN, "c0de") as folder:
        folder.keep(cell, OUTCOME)
        (chunk,) = (tmp_path / "chunks").iterdir()
        whole = chunk.read_bytes()
        if how == "of another run":
            with RunFolder(tmp_path / "other", PLAN, "0ther") as other:
                other.keep(cell, OUTCOME)
            whole = (tmp_path / "other" / "chunks" / chunk.name).read_bytes()
        chunk.write_bytes({"cut off": whole[: len(whole) // 2], "empty": b""}.get(how, whole))
        assert not folder.finished(cell)
        assert not chunk.exists()


def test_another_plan_or_other_code_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    cell = PLAN.cells()[0]
    with RunFolder(tmp_path, PLAN, "c0de") as folder:
        folder.keep(cell, OUTCOME)
    with pytest.raises(
        TrialError, match=r"patients 45 there, 60 asked for; seed 3 there, 4 asked for"
    ) as refused:
        RunFolder(tmp_path, replace(PLAN, patients=60, seed=4), "c0de").__enter__()
    assert "--out" in refused.value.remedy
    with pytest.raises(TrialError, match="the code has changed since"):
        RunFolder(tmp_path, PLAN, "0ther").__enter__()
    with RunFolder(tmp_path, PLAN, "c0de") as folder:
        assert folder.finished(cell)


def test_a_folder_that_is_no_runs_or_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(TrialError, match="holds files that no trial wrote"):
        RunFolder(tmp_path / "letters", PLAN, "c0de").__enter__()
    with pytest.raises(TrialError, match="found a file at"):
        RunFolder(tmp_path / "letters" / "dear.txt", PLAN, "c0de").__enter__()
    second = RunFolder(tmp_path / "run", PLAN, "c0de")
    with RunFolder(tmp_path / "run", PLAN, "c0de"), pytest.raises(TrialError, match="another run is writing"):
        second.__enter__()
    with RunFolder(tmp_path / "run", PLAN, "c0de"):
        pass
    (tmp_path / "run" / "plan.json").write_text("{")
    with pytest.raises(TrialError, match="is no plan of a trial"):
        RunFolder(tmp_path / "run", PLAN, "c0de").__enter__()
