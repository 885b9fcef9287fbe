"""The folders: one namespace over flat rooms, and nothing that breaks it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("platform", "twins", "stream_jobs", "ml", "dashboards")


@pytest.mark.parametrize("room", ROOMS)
def test_no_init_shadows_the_namespace_or_the_standard_library(room: str) -> None:
    assert not (ROOT / room / "__init__.py").exists(), "a launcher at the root would import this, not stdlib"
    assert not (ROOT / room / "dosetwin" / "__init__.py").exists(), "would hide the other rooms"
    assert (ROOT / room / "dosetwin" / room / "__init__.py").is_file()
    assert (ROOT / room / "dosetwin" / room / "py.typed").is_file()


def test_import_platform_at_the_root_is_the_standard_library() -> None:
    code = "import platform; print(platform.__file__); print(platform.python_version())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    file, python = result.stdout.split()
    assert Path(file).is_relative_to(sysconfig.get_path("stdlib"))
    assert python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_every_room_is_listed_where_tools_look() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    folders = {f"{room}/dosetwin" for room in ROOMS}
    assert set(settings["hatch"]["build"]["dev-mode-dirs"]) == set(ROOMS)
    assert set(settings["hatch"]["build"]["targets"]["wheel"]["packages"]) == folders
    assert set(settings["mypy"]["mypy_path"]) == set(ROOMS)
    assert set(settings["mypy"]["files"]) == folders | {"tests"}
    assert set(settings["importlinter"]["root_packages"]) == {f"dosetwin.{room}" for room in ROOMS}


def test_the_type_checker_excuses_no_room() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    assert "exclude" not in settings
    for override in settings.get("overrides", []):
        assert set(override) <= {"module", "ignore_missing_imports"}, override
        assert not any(str(module).startswith("dosetwin") for module in override["module"])


def test_every_entry_point_loads() -> None:
    points = list(entry_points(group="dosetwin.commands"))
    assert {point.name for point in points} >= {"platform", "twins", "stream_jobs", "dashboards"}
    for point in points:
        assert callable(point.load())


def test_the_wheel_holds_every_room(tmp_path: Path) -> None:
    uv = ROOT / ".tools" / "bin" / "uv"
    if not uv.is_file():
        pytest.skip("uv is not at .tools/bin/uv; `make environment` brings it")
    subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path, ROOT],
        check=True,
        capture_output=True,
        timeout=240,
    )
    (wheel,) = tmp_path.glob("dosetwin-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = next(name for name in names if name.endswith("licenses/LICENSE"))
        assert b"Apache License" in archive.read(licence)
    tracked = subprocess.run(
        ["git", "ls-files", "--", *(f"{room}/dosetwin" for room in ROOMS)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    expected = {path.split("/", 1)[1] for path in tracked if (ROOT / path).is_file()}
    assert expected
    assert expected <= names, sorted(expected - names)
    assert "dosetwin/__init__.py" not in names
