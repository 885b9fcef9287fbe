"""Where a trial comes from: a therapy's module, or a file of one's own; and which code it would run."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dosetwin.platform.errors import DoseTwinError
from dosetwin.stream_jobs.trial.plan import TrialError
from dosetwin.twins.trials.trial import Trial, load_trial

LIBRARIES = ("dosetwin", "jax", "jaxlib", "numpy", "scipy")
"""Whose versions can change a number."""
ROOMS = ("platform", "twins")
"""Whose code can."""


def find_trial(source: str) -> Trial:
    """The trial that `source` means: a therapy's id, or path/to/file.py:NAME (without NAME: `trial`).

    A file is executed. Raises TrialError or TherapyError where there is no such trial.
    """
    file = own_file(source)
    if file is None:
        return load_trial(source)
    path, name = file
    if not path.is_file():
        raise TrialError(f"no file {path}", remedy="give a therapy's id, or path/to/file.py:NAME of a trial")
    module_name = f"dosetwin_trial_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise TrialError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except DoseTwinError:
        raise
    except Exception as error:
        raise TrialError(
            f"{path}: {type(error).__name__}: {error}",
            remedy="the file must run by itself: try it with python",
        ) from error
    found = getattr(module, name, None)
    if not isinstance(found, Trial):
        there = [key for key, value in vars(module).items() if isinstance(value, Trial)]
        raise TrialError(
            f"{path} has no Trial called {name}; it has {', '.join(there) or 'none'}",
            remedy=f"name one: {path}:{there[0]}" if there else "define `trial = Trial(...)` in it",
        )
    return found


def own_file(source: str) -> tuple[Path, str] | None:
    """Path and name of path/to/file.py:NAME; None where `source` is a therapy's id."""
    path, colon, name = source.rpartition(":")
    if colon and path.endswith(".py"):
        return Path(path), name or "trial"
    return (Path(source), "trial") if source.endswith(".py") else None


def absolute(source: str) -> str:
    """The same source, whatever folder a worker starts in."""
    file = own_file(source)
    return source if file is None else f"{file[0].resolve()}:{file[1]}"


@cache
def code_fingerprint(source: str) -> str:
    """16 hexadecimal digits of the code a trial runs: platform, twins, the trial's own file, libraries."""
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for room in ROOMS:
        for folder in _folders(f"dosetwin.{room}"):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{room}/{path.relative_to(folder).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    file = own_file(source)
    if file is not None:
        digest.update(file[0].read_bytes())
    return digest.hexdigest()[:16]


def _folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
