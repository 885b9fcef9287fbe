"""The scripts behind `make`: what they say and do on machines that lack something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash") or "/bin/bash"
NEEDED = ("bash", "cat", "dirname", "grep", "id", "mkdir", "mktemp", "rm", "sed", "tail")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs without Python, Chromium or a package manager, and a copy of the scripts."""
    (tmp_path / "bin").mkdir()
    for name in NEEDED:
        real(tmp_path, name)
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    return tmp_path


def program(bare: Path, name: str, text: str) -> None:
    """A program of the bare machine. Never a link: what a test replaces must not be the machine's own."""
    path = bare / "bin" / name
    assert not path.is_symlink()
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(0o755)


def real(bare: Path, name: str) -> None:
    """A program of the bare machine that calls this machine's."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not on PATH"
    program(bare, name, f'exec {found} "$@"')


def run(bare: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BASH, f"infra/{script}"],
        cwd=bare,
        env={"PATH": str(bare / "bin"), "HOME": str(bare)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_continuous_integration_runs_make_test_and_nothing_else() -> None:
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    lines = [
        line for line in path.read_text().splitlines() if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert lines == ["exec make test"]


def test_make_lists_its_targets() -> None:
    listing = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "test-slow", "benchmark", "clean", "help"} <= targets
    assert all(f"make {target} " in listing for target in targets)


def test_without_python_the_environment_says_what_to_install(bare: Path) -> None:
    result = run(bare, "environment.sh")
    assert result.returncode == 2
    assert "no Python 3.11 or newer on PATH (python3 is missing)" in result.stderr
    assert "apt install python3" in result.stderr


def test_an_old_python_is_named(bare: Path) -> None:
    program(bare, "python3", '[[ $1 == --version ]] && echo "Python 3.9.2" && exit 0; exit 1')
    result = run(bare, "environment.sh")
    assert result.returncode == 2
    assert "python3 is Python 3.9.2" in result.stderr


def test_a_python_without_venv_and_pip_is_named(bare: Path) -> None:
    program(
        bare,
        "python3",
        '[[ $1 == -c ]] && exit 0; [[ $1 == --version ]] && echo "Python 3.12.1" && exit 0; '
        '[[ $2 == venv ]] && echo "ensurepip is not available"; exit 1',
    )
    result = run(bare, "environment.sh")
    assert result.returncode == 2
    assert "no venv, no pip" in result.stderr
    assert "ensurepip is not available" in result.stderr
    assert not (bare / ".tools").exists()


def test_without_chromium_the_script_says_what_to_install_and_lets_the_run_go_on(bare: Path) -> None:
    result = run(bare, "install_chromium.sh")
    assert result.returncode == 0
    assert "the browser tests will be skipped" in result.stdout
    assert "DOSETWIN_CHROMIUM" in result.stdout


def test_chromium_is_installed_where_the_system_lets_us(bare: Path) -> None:
    real(bare, "chmod")
    chromium = bare / "bin" / "chromium"
    program(bare, "id", "echo 0")
    program(bare, "apt-get", f'[[ $1 == install ]] && : >"{chromium}" && chmod +x "{chromium}"; exit 0')
    result = run(bare, "install_chromium.sh")
    assert result.returncode == 0
    assert f"chromium: {chromium} (installed)" in result.stdout


def test_the_checks_stop_at_the_first_that_fails_and_name_it(bare: Path) -> None:
    real(bare, "seq")
    (bare / "infra" / "environment.sh").write_text("#!/bin/sh\nexit 0\n")
    programs = bare / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, status in (("ruff", 0), ("mypy", 1), ("lint-imports", 0), ("pytest", 0)):
        path = programs / name
        path.write_text(f"#!/bin/sh\necho ran-{name}\nexit {status}\n")
        path.chmod(0o755)
    result = run(bare, "run_checks.sh")
    assert result.returncode == 1
    assert "ran-ruff" in result.stdout
    assert "ran-lint-imports" not in result.stdout
    assert "types (mypy, strict) FAILED (exit status 1). To repeat it alone: make types" in result.stderr
