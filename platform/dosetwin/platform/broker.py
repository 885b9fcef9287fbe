"""A real single-node Apache Kafka (KRaft) from the Python environment alone, for one machine.

The data is kept between runs. For anything that must survive the machine, point at a cluster instead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dosetwin.platform.broker_jars import provide_jars
from dosetwin.platform.broker_properties import server_properties, write_properties
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.java import find_java

HOST = "127.0.0.1"
LOG_LINES_SHOWN = 25
LOG_KEPT_BYTES = 20 * 1024 * 1024
START_ATTEMPTS = 3
"""How often a start is tried when another process takes the free port between finding and binding it."""


class Broker:
    """One broker over one data folder; a context manager.

    `data_dir` holds `storage/` (the topics), `server.properties`, `broker.log`, `broker.pid` and
    `broker.lock`. The lock is inherited by the Java process, so that no second broker shares the folder
    even where the process that started the first one is gone.

    `announce` is told in words what a person should know (a port that was in use, a Java that was found).
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 9092,
        heap_mb: int = 512,
        *,
        fresh: bool = False,
        announce: Callable[[str], None] = lambda _words: None,
        show_progress: bool = True,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = port
        self.heap_mb = heap_mb
        self.log_path = self.data_dir / "broker.log"
        self._fresh = fresh
        self._announce = announce
        self._show_progress = show_progress
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def bootstrap(self) -> str:
        """What clients connect to: host:port."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The Java process, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, timeout_s: float = 90.0) -> str:
        """Start and wait until an admin client is answered; returns the bootstrap string.

        Raises BrokerError where Java, a jar or a free folder is missing, or the broker does not come up:
        its last log lines are in the message.
        """
        if self.pid is not None:
            return self.bootstrap
        java = find_java()
        if "system" in java.origin:
            self._announce(f"Java {java.version} of {java.origin}.")
        class_path = os.pathsep.join(str(jar) for jar in provide_jars(self._show_progress))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = self._take_lock()
        try:
            if self._fresh:
                shutil.rmtree(self.data_dir / "storage", ignore_errors=True)
                self._fresh = False
            self._rotate_log()
            for attempt in range(1, START_ATTEMPTS + 1):
                self._choose_port()
                self._launch(java.path, class_path, lock)
                try:
                    self._wait_until_healthy(timeout_s)
                    break
                except BrokerError:
                    self._end_process(grace_s=1.0)
                    if attempt == START_ATTEMPTS or "BindException" not in self.last_log_lines():
                        raise
            (self.data_dir / "broker.pid").write_text(f"{self.pid} {self.bootstrap}\n")
        except BaseException:
            self.stop()
            raise
        return self.bootstrap

    def stop(self, grace_s: float = 20.0) -> None:
        """Ask the broker to end (clients' leases and logs are closed), then end it."""
        self._end_process(grace_s)
        (self.data_dir / "broker.pid").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wait(self) -> int:
        """Wait until the broker ends by itself; its exit status."""
        if self._process is None:
            return 0
        return self._process.wait()

    def last_log_lines(self, count: int = LOG_LINES_SHOWN) -> str:
        """The end of the log, without the frames of stack traces, which push the cause out of sight."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open(errors="replace") as log:
            return "".join(deque((line for line in log if not line.startswith("\tat ")), count)).rstrip()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_lock(self) -> IO[str]:
        lock = (self.data_dir / "broker.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            pid_file = self.data_dir / "broker.pid"
            running = pid_file.read_text().split() if pid_file.exists() else []
            pid, bootstrap = running if len(running) == 2 else ("?", "?")
            raise BrokerError(
                f"another broker (process {pid}, at {bootstrap}) uses {self.data_dir}",
                remedy=f"use it with --bootstrap {bootstrap}, end it with `kill {pid}`, "
                "or give this one a folder of its own (--data-dir)",
            ) from error
        self._lock = lock
        return lock

    def _choose_port(self) -> None:
        if self.port and port_is_free(self.port):
            return
        taken, self.port = self.port, free_port()
        if taken:
            self._announce(f"Port {taken} is in use; the broker takes {self.port}.")

    def _launch(self, java: Path, class_path: str, lock: IO[str]) -> None:
        properties = self.data_dir / "server.properties"
        storage = self.data_dir / "storage"
        write_properties(properties, server_properties(storage, self.port, free_port()))
        if not (storage / "meta.properties").exists():
            self._format(java, class_path, properties)
        command = [
            str(java),
            f"-Xmx{self.heap_mb}m",
            "-Xms128m",
            "-XX:+UseG1GC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            # without it each I/O thread keeps a direct buffer as large as the largest record it ever saw
            "-Djdk.nio.maxCachedBufferSize=1048576",
            *_logging("info"),
            "-cp",
            class_path,
            "kafka.Kafka",
            str(properties),
        ]
        with self.log_path.open("ab") as log:
            # a session of its own: Ctrl-C reaches the parent, which stops its clients first
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )

    def _format(self, java: Path, class_path: str, properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [str(java), "-Xmx128m", "-XX:TieredStopAtLevel=1", *_logging("warn"), "-cp", class_path]
        command += ["kafka.tools.StorageTool", "format", "--standalone"]
        command += [f"--cluster-id={cluster}", "--config", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        with self.log_path.open("a") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode != 0:
            raise BrokerError(
                f"formatting {self.data_dir / 'storage'} failed:\n{(done.stdout + done.stderr).strip()}",
                remedy="use --fresh to start from empty data, or give another --data-dir",
            )

    def _wait_until_healthy(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                status = None if self._process is None else self._process.returncode
                raise self._failure(f"the broker ended with status {status} while it started")
            if _answers(self.port):
                return
            time.sleep(0.05)
        raise self._failure(f"the broker did not answer within {timeout_s:.0f} s")

    def _failure(self, found: str) -> BrokerError:
        return BrokerError(
            f"{found}; the end of {self.log_path}:\n{self.last_log_lines()}",
            remedy="`dosetwin doctor` checks Java, ports, disk and memory; --fresh starts from empty data",
        )

    def _end_process(self, grace_s: float) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._process = None

    def _rotate_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_KEPT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))


def free_port() -> int:
    """A port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen at the port now."""
    with socket.socket() as probe:
        # as the broker will: a port in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _answers(port: int) -> bool:
    """Whether the broker answers a real admin client with at least one live node."""
    try:
        socket.create_connection((HOST, port), timeout=0.5).close()
    except OSError:
        return False
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        client = KafkaAdminClient(
            bootstrap_servers=f"{HOST}:{port}", client_id="dosetwin-health", request_timeout_ms=5000
        )
    except (KafkaError, OSError, ValueError):
        return False
    try:
        return bool(client.describe_cluster()["brokers"])
    except (KafkaError, OSError, KeyError):
        return False
    finally:
        client.close()


def _logging(level: str) -> list[str]:
    """slf4j-simple: times, and quiet where Kafka is talkative."""
    quiet = ("org.apache.kafka.common.utils.AppInfoParser", "org.apache.kafka.common.config.AbstractConfig")
    noisy = ("kafka.log", "org.apache.kafka.storage.internals", "org.apache.kafka.coordinator")
    return [
        f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        *(f"-Dorg.slf4j.simpleLogger.log.{name}=warn" for name in (*quiet, *noisy)),
    ]
