"""What a run keeps: its plan, every chunk of patients that is finished, and what went wrong.

    plan.json            the plan, the code's fingerprint, the fingerprint of both
    chunks/CELL.npz      an Outcome, written whole or not at all
    failures/CELL.txt    the traceback of a task that failed
    result.json, measures.csv, report.html

A run with another plan, or other code, is refused: its patients would be compared with those of another
trial.
"""

from __future__ import annotations

import fcntl
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dosetwin.stream_jobs.trial.plan import Cell, TrialError, TrialPlan
from dosetwin.twins.trials.trial import Outcome

PLAN = "plan.json"


class RunFolder:
    """The folder of one run; a context manager that keeps a second run out while it is open."""

    def __init__(self, path: Path, plan: TrialPlan, code: str) -> None:
        self.path = path
        self._plan = plan
        self._code = code
        self._fingerprint = plan.fingerprint(code)
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        if self.path.exists() and not self.path.is_dir():
            raise TrialError(f"found a file at {self.path}; expected a folder, or nothing yet")
        file = self.path / PLAN
        if self.path.is_dir() and not file.exists() and any(self.path.iterdir()):
            raise TrialError(
                f"{self.path} holds files that no trial wrote (it has no {PLAN})",
                remedy="give a folder of the run's own with --out",
            )
        if file.exists():
            self._same(_read(file))
        (self.path / "chunks").mkdir(parents=True, exist_ok=True)
        self._take()
        if not file.exists():
            record = {"fingerprint": self._fingerprint, "code": self._code, "plan": self._plan.record()}
            self.write(PLAN, json.dumps(record, indent=2) + "\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finished(self, cell: Cell) -> bool:
        """Whether the cell's outcome is kept and whole; what is not is removed, to be simulated again."""
        path = self._chunk(cell)
        if not path.exists():
            return False
        try:
            self.outcome(cell)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink()
            return False
        return True

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Write the cell's outcome, whole or not at all."""
        arrays = {"time_s": outcome.time_s, "fingerprint": np.array(self._fingerprint)}
        arrays |= {f"measure.{name}": values for name, values in outcome.measures.items()}
        arrays |= {f"trace.{name}": values for name, values in outcome.traces.items()}
        path = self._chunk(cell)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
        (self.path / "failures" / f"{cell.name}.txt").unlink(missing_ok=True)

    def outcome(self, cell: Cell) -> Outcome:
        """The outcome that was kept."""
        with np.load(self._chunk(cell), allow_pickle=False) as kept:
            if str(kept["fingerprint"]) != self._fingerprint:
                raise ValueError("of another run")
            return Outcome(
                {name[8:]: kept[name] for name in kept.files if name.startswith("measure.")},
                kept["time_s"],
                {name[6:]: kept[name] for name in kept.files if name.startswith("trace.")},
            )

    def failed(self, cell: Cell, traceback: str) -> Path:
        """Keep the traceback of a task; where it is."""
        path = self.path / "failures" / f"{cell.name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(traceback, encoding="utf-8")
        return path

    def write(self, name: str, text: str) -> Path:
        """A text file beside the chunks, whole or not at all."""
        path = self.path / name
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
        return path

    def _chunk(self, cell: Cell) -> Path:
        return self.path / "chunks" / f"{cell.name}.npz"

    def _take(self) -> None:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise TrialError(
                f"another run is writing to {self.path}", remedy="wait for it, or give another --out"
            ) from None
        self._lock = lock

    def _same(self, found: Mapping[str, Any]) -> None:
        if found.get("fingerprint") == self._fingerprint:
            return
        there, asked = found.get("plan", {}), self._plan.record()
        other = [
            f"{key} {_words(there.get(key))} there, {_words(asked.get(key))} asked for"
            for key in asked
            if there.get(key) != json.loads(json.dumps(asked[key]))
        ]
        if not other:
            other = [f"the code has changed since (fingerprint {found.get('code')} there, {self._code} now)"]
        raise TrialError(
            f"{self.path} holds another run: {'; '.join(other)}",
            remedy=f"give another --out, or remove {self.path}; the old run's results stay as they are",
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrialError(
            f"{file} is no plan of a trial: {error}", remedy="remove the folder, or give another --out"
        ) from error
    return found


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) or "none" for entry in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={entry}" for key, entry in value.items()) or "none"
    return str(value) if value not in ("", None) else "none"
