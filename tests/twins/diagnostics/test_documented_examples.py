"""The README's library example and the guides run as they stand (the guides with fewer samples)."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.twins.data.recorded_sets import theophylline

ROOT = Path(__file__).parents[3]


def library_example() -> str:
    section = (ROOT / "README.md").read_text().split("## Use it as a library")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(block)


def test_a_new_drug_takes_at_most_25_lines() -> None:
    example = library_example()
    assert len([line for line in example.splitlines() if line.strip()]) <= 25


@pytest.mark.slow
def test_the_new_drug_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = library_example()
    theophylline().to_csv(tmp_path / "theophylline.csv", index=False, na_rep=".")
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    fit = runpy.run_path("example.py")["fit"]
    assert fit.converged
    assert fit.estimates["CL"] == pytest.approx(2.8, rel=0.1)
    assert fit.estimates["V1"] == pytest.approx(32, rel=0.1)
    for name in ("goodness.png", "individuals.png"):
        assert (tmp_path / name).stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guide", "figures"),
    [
        ("individual_dosing", ("individual.png",)),
        ("your_own_model", ("goodness.png", "individuals.png", "vpc.png")),
    ],
)
def test_a_guide_runs(guide: str, figures: tuple[str, ...], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "guides" / f"{guide}.py", tmp_path],
        env=os.environ | {"DOSETWIN_FAST": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for name in figures:
        assert (tmp_path / name).stat().st_size > 10_000
        assert (ROOT / "docs" / "guides" / "figures" / name).is_file()
