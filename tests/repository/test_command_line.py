"""The command answers at once: `--help` brings in nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("jax", "jaxlib", "ray", "faust", "streamlit", "torch", "kafka", "pandas", "matplotlib", "pint")
PROBE = f"""
import json, sys
sys.argv = ["dosetwin", "--help"]
from dosetwin.platform.command_line import main
status = 0
try:
    main()
except SystemExit as end:
    status = end.code or 0
print(json.dumps({{"status": status, "heavy": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(result.stdout.splitlines()[-1])
    assert found == {"status": 0, "heavy": []}
    assert "Not a medical device" in " ".join(result.stdout.split())


def test_an_unknown_command_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "dosetwin", "no-such-command"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "no-such-command" in result.stderr
    assert "Traceback" not in result.stderr
