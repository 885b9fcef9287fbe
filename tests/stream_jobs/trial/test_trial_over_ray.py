"""`dosetwin trial` over a real Ray: figures, files, going on after a stop, tasks that fail.

One Ray for the module; what starts one of its own is slow.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from dosetwin.stream_jobs.trial import ray_run
from dosetwin.stream_jobs.trial.plan import Cell, TrialError
from dosetwin.stream_jobs.trial.ray_run import run_cells
from dosetwin.stream_jobs.trial.run import FAILED, OK, STOPPED, TrialRequest, make_plan, run_trial
from dosetwin.stream_jobs.trial.source import find_trial
from dosetwin.twins.trials.statistics import summarise

pytestmark = pytest.mark.ray
DOSETWIN = Path(sys.executable).parent / "dosetwin"
WARD = Path(__file__).with_name("one_compartment.py").resolve()
REQUEST = TrialRequest(f"{WARD}:trial", patients=30, days=1.0, seed=3, workers=2, as_json=True)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=128 * 1024 * 1024,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of REQUEST."""
    out = tmp_path_factory.mktemp("trial") / "whole"
    assert run_trial(replace(REQUEST, out=out)) == OK
    return out


def chunks(folder: Path) -> dict[str, dict[str, bytes]]:
    """Every array of every chunk, as bytes."""
    found = {}
    for path in sorted((folder / "chunks").iterdir()):
        with np.load(path) as kept:
            found[path.name] = {name: kept[name].tobytes() for name in kept.files}
    return found


def test_the_last_line_is_one_object_with_the_figures_of_each_policy(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_trial(replace(REQUEST, out=whole)) == OK
    printed = capsys.readouterr()
    assert "4 of 4 chunks are kept from before" in " ".join(printed.err.split())
    line = json.loads(printed.out.splitlines()[-1])
    assert {k: v for k, v in line.items() if k != "policies"} == {
        "therapy": "testamycin",
        "plant": "ward",
        "patients": 30,
        "days": 1.0,
        "seed": 3,
    }
    assert list(line["policies"]) == ["proportional", "fixed"]
    rows = [row.split(",") for row in (whole / "measures.csv").read_text().splitlines()]
    for policy, measures in line["policies"].items():
        assert list(measures) == ["in_range_pct", "above_pct", "days_until_above"]
        for name, better in (
            ("in_range_pct", "higher"),
            ("above_pct", "lower"),
            ("days_until_above", "higher"),
        ):
            column = rows[0].index(name)
            values = [float(row[column] or "nan") for row in rows[1:] if row[1] == policy]
            assert len(values) == 30
            expected = summarise(values, better, 3)  # type: ignore[arg-type]
            found = measures[name]
            assert list(found) == ["mean", "worst", "ci95"]
            assert found["mean"] == expected.mean
            assert found["ci95"] == [expected.low, expected.high]
            assert found["worst"] == (np.nanmin if better == "higher" else np.nanmax)(values)
            assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]


def test_the_folder_has_the_paired_differences_and_the_report(whole: Path) -> None:
    full = json.loads((whole / "result.json").read_text())
    assert full["compared_with"] == "proportional"
    fixed = {r["measure"]: r for r in full["results"] if r["policy"] == "fixed"}
    proportional = {r["measure"]: r for r in full["results"] if r["policy"] == "proportional"}
    difference = fixed["in_range_pct"]["difference"]
    assert difference["mean"] == pytest.approx(
        fixed["in_range_pct"]["mean"] - proportional["in_range_pct"]["mean"]
    )
    assert difference["ci95"][1] < 0
    assert proportional["in_range_pct"]["difference"] is None
    page = (whole / "report.html").read_text()
    assert f"dosetwin trial {WARD}:trial --plant ward --patients 30 --days 1 --seed 3" in page
    assert "Median level over time" in page


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(whole: Path, tmp_path: Path) -> None:
    """Stopped as by Ctrl-C after the first chunk."""
    from dosetwin.stream_jobs.trial.folder import RunFolder
    from dosetwin.stream_jobs.trial.source import code_fingerprint

    plan = make_plan(REQUEST, find_trial(REQUEST.source))
    stop, kept = threading.Event(), []
    out = tmp_path / "stopped"
    with RunFolder(out, plan, code_fingerprint(plan.source)) as folder:

        def done(cell: Cell, answer: Any) -> None:
            folder.keep(cell, answer)
            kept.append(cell)
            stop.set()

        run_cells(plan, plan.cells(), workers=1, stop=stop, done=done, lived=lambda days: None)
    assert len(kept) < len(plan.cells())
    assert run_trial(replace(REQUEST, out=out, report=False)) == OK
    assert chunks(out) == chunks(whole)
    assert (out / "result.json").read_text() == (whole / "result.json").read_text()


def test_another_number_of_workers_or_a_part_of_the_patients_gives_the_same(
    whole: Path, tmp_path: Path
) -> None:
    rows = (whole / "measures.csv").read_text().splitlines()
    for workers in (0, 1):
        out = tmp_path / f"part-{workers}"
        part = replace(REQUEST, out=out, first_patient=11, patients=3, workers=workers, report=False)
        assert run_trial(part) == OK
        assert set((out / "measures.csv").read_text().splitlines()) <= set(rows)


def test_a_changed_plan_in_the_same_folder_is_refused(whole: Path) -> None:
    before = chunks(whole)
    with pytest.raises(TrialError, match=r"days 1\.0 there, 2\.0 asked for"):
        run_trial(replace(REQUEST, out=whole, days=2.0))
    assert chunks(whole) == before


@pytest.mark.parametrize(
    ("policy", "words"),
    [("failing", "ZeroDivisionError: the pump caught fire"), ("dying", "its process died 2 times")],
)
def test_a_task_that_fails_says_so_and_costs_no_other(
    local_ray: None, tmp_path: Path, policy: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = TrialRequest(
        f"{WARD}:broken",
        patients=3,
        policies=("fixed", policy),
        out=tmp_path / "run",
        workers=2,
        as_json=True,
    )
    assert run_trial(request) == FAILED
    printed = capsys.readouterr()
    said = " ".join(printed.err.split())
    assert words in said
    assert "1 of 2 chunks failed" in said
    assert '{"therapy"' not in printed.out
    (trace,) = (tmp_path / "run" / "failures").iterdir()
    assert words.split(":")[0] in trace.read_text() or policy == "dying"
    assert [path.name for path in (tmp_path / "run" / "chunks").iterdir()] == ["fixed.none.000000-000002.npz"]
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_command_that_means_nothing_exits_with_2_and_names_the_remedy(tmp_path: Path) -> None:
    result = subprocess.run(
        [DOSETWIN, "trial", "homeopathy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert "homeopathy" in result.stderr
    assert "Try:" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def started() -> Iterator[Callable[[Path, float, int], subprocess.Popen[str]]]:
    """Begins runs by the command line, slow enough to be stopped; ends what is left."""
    begun: list[subprocess.Popen[str]] = []

    def start(out: Path, pace_s: float, workers: int) -> subprocess.Popen[str]:
        begun.append(_begin(out, pace_s, workers))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _begin(out: Path, pace_s: float, workers: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(DOSETWIN, "trial", f"{WARD}:trial", "--patients", "45", "--days", "1"),
            *("--workers", str(workers)),
            *("--option", f"pace_s={pace_s}", "--no-report", "--json", "--out", out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_chunks(run: subprocess.Popen[str], out: Path, count: int) -> None:
    while len(list((out / "chunks").glob("*.npz"))) < count:
        if run.poll() is not None:
            pytest.fail(f"it ended with {run.returncode}: {run.communicate()[1]}")
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_in_the_middle_loses_no_finished_chunk_and_no_bit(
    started: Callable[[Path, float, int], subprocess.Popen[str]], tmp_path: Path, workers: int
) -> None:
    whole_run = started(tmp_path / "whole", 0.02, workers)
    out, err = whole_run.communicate(timeout=900)
    assert whole_run.returncode == 0, err
    expected = out.splitlines()[-1]
    killed = started(tmp_path / "killed", 0.02, workers)
    wait_for_chunks(killed, tmp_path / "killed", 2)
    descendants = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.communicate(timeout=60)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "chunks").glob("*.npz")}
    assert 2 <= len(before) < 6
    # Ray's agents notice within about 60 s that nobody is there any more
    _, alive = psutil.wait_procs(descendants, timeout=150)
    assert not alive, [process.name() for process in alive]
    again = started(tmp_path / "killed", 0.02, workers)
    out, err = again.communicate(timeout=900)
    assert again.returncode == 0, err
    assert f"{len(before)} of 6 chunks are kept from before" in " ".join(err.split())
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "chunks").glob("*.npz")}
    assert before.items() <= after.items()
    assert out.splitlines()[-1] == expected
    assert chunks(tmp_path / "killed") == chunks(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGINT, 0)])
def test_ctrl_c_keeps_what_is_finished_and_leaves_nothing_running(
    started: Callable[[Path, float, int], subprocess.Popen[str]],
    tmp_path: Path,
    number: signal.Signals,
    workers: int,
) -> None:
    running = started(tmp_path / "run", 0.2, workers)
    wait_for_chunks(running, tmp_path / "run", 2)
    descendants = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == STOPPED
    assert "the same command goes on from there" in " ".join(err.split())
    assert "Traceback" not in err
    assert out == ""
    assert not psutil.wait_procs(descendants, timeout=60)[1]
    kept = list((tmp_path / "run" / "chunks").iterdir())
    assert 2 <= len(kept) < 6
    assert all(path.suffix == ".npz" for path in kept)


def test_workers_have_one_thread_each(local_ray: None) -> None:
    from dosetwin.stream_jobs.trial.tasks import ONE_THREAD, one_thread

    def settings() -> tuple[str, str]:
        one_thread()
        return os.environ["XLA_FLAGS"], os.environ["OMP_NUM_THREADS"]

    flags, threads = ray.get(ray.remote(settings).remote())
    assert ONE_THREAD in flags
    assert threads == "1"
    assert ray_run.TRIES_AGAIN == 1
