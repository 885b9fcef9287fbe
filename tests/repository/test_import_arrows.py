"""import-linter really sees the rooms: each forbidden import, put into a copy, is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("platform", "twins", "stream_jobs", "ml", "dashboards")

BROKEN = (
    ("platform", "import jax", "platform"),
    ("platform", "import ray", "platform"),
    ("platform", "import faust", "platform"),
    ("platform", "import streamlit", "platform"),
    ("platform", "from dosetwin.twins import therapy", "rooms"),
    ("twins", "from kafka import KafkaConsumer", "twins"),
    ("twins", "import ray", "twins"),
    ("twins", "import faust", "twins"),
    ("twins", "import time", "twins-pure"),
    ("twins", "from dosetwin.platform.settings import Settings", "twins-pure"),
    ("twins", "import dosetwin.ml", "rooms"),
    ("twins", "import dosetwin.stream_jobs", "rooms"),
    ("ml", "import kafka", "ml"),
    ("stream_jobs", "import streamlit", "stream-jobs"),
    ("stream_jobs", "import dosetwin.dashboards", "rooms"),
    ("dashboards", "import ray", "dashboards"),
    ("dashboards", "import faust", "dashboards"),
    ("dashboards", "import dosetwin.stream_jobs", "rooms"),
)


@pytest.fixture(scope="module")
def rooms_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("rooms")
    for room in ROOMS:
        shutil.copytree(
            ROOT / room / "dosetwin",
            copy / room / "dosetwin",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(copy: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the copy, whose rooms come before the installed ones on the path."""
    path = os.pathsep.join(str(copy / room) for room in ROOMS)
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--config", copy / "pyproject.toml", "--no-cache"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def contract_name(contract_id: str) -> str:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(str(contract["name"]) for contract in contracts if contract["id"] == contract_id)


def test_the_rooms_as_they_are_hold(rooms_copy: Path) -> None:
    result = lint(rooms_copy)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(("room", "statement", "contract"), BROKEN)
def test_a_forbidden_import_is_found(rooms_copy: Path, room: str, statement: str, contract: str) -> None:
    intruder = rooms_copy / room / "dosetwin" / room / "intruder.py"
    intruder.write_text(statement + "\n")
    try:
        result = lint(rooms_copy)
    finally:
        intruder.unlink()
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract_name(contract)} BROKEN" in result.stdout
    assert f"dosetwin.{room}.intruder" in result.stdout


@pytest.mark.parametrize("module", ["policies", "models", "estimators", "therapies", "closed_loop"])
def test_the_supervisor_imports_nothing_that_it_judges(rooms_copy: Path, module: str) -> None:
    intruder = rooms_copy / "twins" / "dosetwin" / "twins" / "safety" / "intruder.py"
    intruder.write_text(f"import dosetwin.twins.{module}\n")
    try:
        result = lint(rooms_copy)
    finally:
        intruder.unlink()
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract_name('supervisor')} BROKEN" in result.stdout
