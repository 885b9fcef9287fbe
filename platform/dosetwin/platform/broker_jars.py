"""The broker's jars: pinned by version and sha256, brought once by jgo, checked at every start."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from dosetwin.platform.errors import BrokerError

KAFKA_VERSION = "4.3.0"


class Jar(msgspec.Struct, frozen=True):
    """One pinned jar, by Maven coordinates, with the sha256 and size it must have."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return f"{self.artifact}-{self.version}.jar"


@cache
def pinned_jars() -> tuple[Jar, ...]:
    """The jars that make up the broker, from `broker_jars.txt` beside this module."""
    jars = []
    for line in files("dosetwin.platform").joinpath("broker_jars.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinates = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256, int(size)))
    return tuple(jars)


def cache_folder() -> Path:
    """Where jars are kept between runs: DOSETWIN_CACHE, else the user's cache folder."""
    given = os.environ.get("DOSETWIN_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dosetwin"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dosetwin"


def jar_folder() -> Path:
    """The folder of this Kafka version's jars."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def missing_jars(folder: Path) -> list[Jar]:
    """Those of the pinned jars that are not in `folder` yet."""
    return [jar for jar in pinned_jars() if not (folder / jar.file_name).is_file()]


def check_jars(folder: Path) -> None:
    """Raise BrokerError unless every pinned jar is in `folder` and has its recorded sha256."""
    for jar in pinned_jars():
        path = folder / jar.file_name
        if not path.is_file():
            raise BrokerError(
                f"the broker's jar {jar.file_name} is not in {folder}",
                remedy="run `dosetwin broker` once with a network to bring it",
            )
        _check(jar, path)


def provide_jars(show_progress: bool = True) -> list[Path]:
    """The class path of the broker: brings what is missing, then checks every jar.

    A download lands in a folder of its own and is moved into the cache after its sha256 was checked, so
    that the cache never holds half a jar; a lock keeps two processes from bringing them twice.

    Raises BrokerError where a jar cannot be had, or is not the recorded one.
    """
    folder = jar_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        missing = missing_jars(folder)
        if missing:
            _download(missing, folder, show_progress)
    check_jars(folder)
    return [folder / jar.file_name for jar in pinned_jars()]


def _check(jar: Jar, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise BrokerError(
            f"the jar {path} has sha256 {found}; recorded for {jar.group}:{jar.artifact}:{jar.version} "
            f"is {jar.sha256}",
            remedy=f"it was changed or damaged: delete {path} and start again to bring it anew; "
            "if that repeats, do not trust the repository it comes from",
        )


def _download(missing: list[Jar], folder: Path, show_progress: bool) -> None:
    # jgo imports requests; only the rare first start pays for it
    from jgo.config import GlobalSettings
    from jgo.constants import default_maven_repo
    from jgo.maven import MavenContext, PythonResolver

    with (
        _progress(missing, show_progress) as advance,
        tempfile.TemporaryDirectory(dir=folder, prefix="download-") as temporary,
    ):

        @contextmanager
        def count(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
            yield advance

        defaults: dict[str, str] = dict(MavenContext().remote_repos)
        context = MavenContext(
            resolver=PythonResolver(progress_callback=count),
            repo_cache=Path(temporary),
            local_repos=[default_maven_repo()],
            # a site's own mirrors, from jgo's configuration, are asked first
            remote_repos={**GlobalSettings.load().repositories, **defaults},
            timeout=30,
        )
        for jar in missing:
            artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
            try:
                path = Path(artifact.resolve())
            except (OSError, RuntimeError) as error:
                raise BrokerError(
                    f"could not bring {jar.group}:{jar.artifact}:{jar.version} ({error})",
                    remedy="check the network or proxy; behind a mirror, name it under [repositories] in "
                    "jgo's configuration file; or point at a running cluster with --bootstrap HOST:PORT",
                ) from error
            _check(jar, path)
            landed = Path(temporary) / jar.file_name
            shutil.copyfile(path, landed)
            landed.replace(folder / jar.file_name)


@contextmanager
def _progress(missing: list[Jar], show: bool) -> Iterator[Callable[[int], None]]:
    total = sum(jar.size_bytes for jar in missing)
    if not show:
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"Apache Kafka {KAFKA_VERSION} ({len(missing)} jars)", total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
