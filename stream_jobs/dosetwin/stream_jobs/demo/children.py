"""The processes of a demo: started with one environment, watched, started again, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dosetwin.platform.errors import DoseTwinError


class Child:
    """A `dosetwin` sub-command in a process group of its own, its output in a log file."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        log_dir: Path,
        *,
        restart: bool = True,
    ) -> None:
        self.name = name
        self.log_path = log_dir / f"{name}.log"
        self.restarts = 0
        self._arguments = arguments
        self._environment = environment
        self._restart = restart
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at_s = 0.0
        self._failures = 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the process; Ctrl-C of the terminal does not reach it, the demo ends it in order."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dosetwin.platform.command_line", *self._arguments],
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def tend(self, say: Callable[[str], None]) -> None:
        """Start it again with back-off when it died."""
        if self.running or self._process is None:
            return
        now_s = time.monotonic()
        if self._start_at_s == 0.0:
            if not self._restart:
                raise DoseTwinError(
                    f"{self.name} ended with {self.returncode}: {self.last_words()}",
                    remedy=f"read {self.log_path}",
                )
            wait_s = min(0.5 * 2**self._failures, 30.0)
            self._failures += 1
            self._start_at_s = now_s + wait_s
            say(f"{self.name} died ({self.returncode}); starts again in {wait_s:.1f} s: {self.last_words(1)}")
        elif now_s >= self._start_at_s:
            self._start_at_s = 0.0
            self.restarts += 1
            self.start()

    def end(self, grace_s: float) -> None:
        """Ask it to end; insist after `grace_s`."""
        if self._process is None or not self.running:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
