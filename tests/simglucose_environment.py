"""simglucose's own environment in .tools/simglucose: it pins old packages, so it never meets the
project's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".tools" / "simglucose"
PINNED = ("simglucose==0.2.11", "setuptools<81")
"""Its gym asks for pkg_resources, which later versions of setuptools left out."""


def peer_python() -> Path | None:
    """The interpreter of the environment, made if it is not there; None where it cannot be made."""
    python = HOME / "bin" / "python"
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    try:
        if not python.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", "3.11", str(HOME)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PINNED], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no peer: {error}; simglucose needs uv and a package index", file=sys.stderr)
        return None
    return python
