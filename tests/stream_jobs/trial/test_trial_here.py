"""`dosetwin trial --workers 0`: stopping and failing without Ray."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dosetwin.stream_jobs.trial.run import FAILED, OK, STOPPED, TrialRequest, run_trial

pytestmark = pytest.mark.ray  # it stops itself by a signal
WARD = Path(__file__).with_name("one_compartment.py").resolve()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run sets for its process is not left to other tests."""
    for name in ("XLA_FLAGS", "JAX_PLATFORMS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_ctrl_c_in_the_middle_of_a_chunk_keeps_the_others_and_the_next_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = TrialRequest(
        f"{WARD}:trial",
        patients=3,
        days=1.0,
        challenges=("all",),
        options=("pace_s=0.02",),
        out=tmp_path / "run",
        workers=0,
        report=False,
        as_json=True,
    )
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    chunks = tmp_path / "run" / "chunks"

    def interrupt() -> None:
        while not list(chunks.glob("*.npz")):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    assert run_trial(request) == STOPPED
    watcher.join()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    printed = capsys.readouterr()
    assert printed.out == ""
    kept = {path.name: path.stat().st_mtime_ns for path in chunks.iterdir()}
    assert 1 <= len(kept) < 4
    assert f"stopped: {len(kept)} of 4 chunks are kept" in " ".join(printed.err.split())
    assert run_trial(request) == OK
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in chunks.iterdir()}.items()
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(line["challenges"]) == ["none", "slow"]


def test_a_failure_says_where_its_traceback_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = TrialRequest(
        f"{WARD}:broken", patients=2, policies=("fixed", "failing"), out=tmp_path / "run", workers=0
    )
    assert run_trial(request) == FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "ZeroDivisionError: the pump caught fire" in said
    (trace,) = (tmp_path / "run" / "failures").iterdir()
    assert "in decide" in trace.read_text()
