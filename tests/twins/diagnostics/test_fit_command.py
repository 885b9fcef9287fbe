"""`dosetwin fit` from files to exit status, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins import fit_command
from dosetwin.twins.data.nonmem import to_frame
from dosetwin.twins.data.subject import Dataset, RecordError
from dosetwin.twins.fit_command import FitPlan, fit
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.model_choice import chosen_model, used_covariates
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.therapies import population_models

DOSETWIN = Path(sys.executable).parent / "dosetwin"
OWN_MODEL = """
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.population_model import LogNormal, Observed, Parameter, PopulationModel, Proportional

SCALE = 70
MODEL = PopulationModel(
    structure=one_compartment(),
    parameters=(
        Parameter("CL", 2.0, "L/h", variability=LogNormal(0.09), covariates=lambda c: c.weight / SCALE),
        Parameter("V1", 20.0, "L", variability=LogNormal(0.04)),
    ),
    observed=Observed("testamycin", "mg/L", error=Proportional(0.15)),
    source="made up",
)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN_MODEL)
    return path


@pytest.fixture
def levels(tmp_path: Path, study: Dataset) -> Path:
    path = tmp_path / "levels.csv"
    frame = to_frame(study).rename(columns={"weight": "WT"}).drop(columns="LIMIT")
    frame.to_csv(path, index=False, na_rep=".")
    return path


def test_individuals_from_a_file_with_a_model_of_ones_own(
    levels: Path, own: Path, tmp_path: Path, fits: IndividualFits, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = FitPlan(
        levels, f"{own}:MODEL", columns="WT=weight", out=tmp_path / "out", replicates=100, as_json=True
    )
    assert fit(plan) == 0
    out = capsys.readouterr().out
    line = json.loads(out.splitlines()[-1])
    assert list(line) == [
        *("model", "method", "subjects", "observations"),
        *("objective", "estimates", "standard_errors", "converged"),
    ]
    assert (line["method"], line["subjects"], line["observations"]) == ("map", 40, 160)
    assert line["converged"] is True
    assert line["objective"] == pytest.approx(float(fits.objective.sum()), rel=1e-9)
    clearance = fits.parameters.groupby("id", sort=False)["CL"].last()
    assert line["estimates"]["S7"]["CL"] == pytest.approx(clearance["S7"], rel=1e-6)
    assert 0 < line["standard_errors"]["S7"]["CL"] < 2
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == line
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", na_values=".")
    assert len(table) == 160
    assert {"ID", "PRED", "IPRED", "CWRES", "NPDE", "ETA1", "CENS"} <= set(table.columns)
    assert set(pd.read_csv(tmp_path / "out" / "parameters.csv").columns) >= {"ID", "CL", "SE_CL", "converged"}
    html = (tmp_path / "out" / "report.html").read_text()
    assert "MODEL = PopulationModel(" in html
    assert "made up" in html


def test_a_search_that_fails_makes_the_status_3(
    levels: Path, own: Path, fits: IndividualFits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = replace(fits, converged=np.arange(40) != 0)
    monkeypatch.setattr(fit_command, "estimate_individuals", lambda *_: lost)
    monkeypatch.chdir(tmp_path)
    assert fit(FitPlan(levels, f"{own}:MODEL", columns="WT=weight", report=False)) == 3
    assert list(tmp_path.glob("fit-*")) == []


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        ({"model": "vancomicin"}, "no model 'vancomicin'; there are", "did you mean vancomycin"),
        ({"model": "nowhere.py:MODEL"}, "no file nowhere.py", "path/to/file.py:NAME"),
        ({"data": Path("nowhere.csv")}, "no file nowhere.csv", "CSV"),
        ({"method": "saem"}, "without --population", "--population"),
        ({"method": "fo", "population": True}, "expected one of focei, laplace, saem", ""),
        ({"columns": "WT:weight"}, "expected pairs such as", ""),
        ({"columns": ""}, "also needs weight", "--columns WT=weight"),
        ({"columns": "WT=weight,DV=XDV"}, "", ""),
    ],
)
def test_mistakes_are_named(
    levels: Path, own: Path, change: dict[str, object], message: str, remedy: str
) -> None:
    plan = replace(FitPlan(levels, f"{own}:MODEL", columns="WT=weight", report=False), **change)  # type: ignore[arg-type] # fields by name
    with pytest.raises(DoseTwinError) as caught:
        fit(plan)
    assert message in str(caught.value)
    assert remedy in caught.value.remedy


def test_models_are_chosen_by_id_or_file(own: Path, tmp_path: Path) -> None:
    known = population_models()
    assert {"vancomycin", "phenobarbital", "quinidine", "remifentanil", "vancomycin/goti-2018"} <= set(known)
    assert "t1d-insulin" not in known
    assert chosen_model("vancomycin").model is chosen_model("vancomycin/goti-2018").model
    assert chosen_model("vancomycin").code.startswith("GOTI_2018 = PopulationModel(")
    assert chosen_model(str(own)).id == f"{own}:MODEL"
    assert used_covariates(chosen_model(f"{own}:MODEL").model) == ("weight",)
    with pytest.raises(ModelError, match="SCALE is a int"):
        chosen_model(f"{own}:SCALE")
    with pytest.raises(ModelError, match="the population models there are MODEL"):
        chosen_model(f"{own}:OTHER")
    broken = tmp_path / "broken.py"
    broken.write_text("a = 1\nb = a / 0\n")
    with pytest.raises(ModelError, match="line 2: ZeroDivisionError"):
        chosen_model(f"{broken}:MODEL")


def test_a_therapys_defaults_fill_in_and_odd_units_are_noted(study: Dataset) -> None:
    vancomycin = chosen_model("vancomycin")
    covariates = {"age": 60.0, "weight": 70_000.0, "sex": 1.0, "creatinine": 1.0}
    subjects = tuple(
        replace(s, covariates={n: np.full(len(s), v) for n, v in covariates.items()})
        for s in study.subjects[:3]
    )
    completed = vancomycin.complete(replace(study, subjects=subjects))
    assert (completed[0].covariates["haemodialysis"] == 0).all()
    assert "no column haemodialysis: taken as 0 for everybody" in completed.notes
    assert any(note.startswith("weight outside 25 to 300 kg in 3 subjects") for note in completed.notes)
    named = tuple(replace(s, covariates={**s.covariates, "Haemodialysis": np.ones(len(s))}) for s in subjects)
    with pytest.raises(RecordError, match="also needs haemodialysis") as caught:
        vancomycin.complete(replace(study, subjects=named))
    assert "--columns Haemodialysis=haemodialysis" in caught.value.remedy
    with pytest.raises(RecordError, match=r"also needs age \(a\), creatinine \(mg/dL\), sex"):
        vancomycin.complete(study)


def test_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DOSETWIN, "fit", *words],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    listed = run("--list")
    assert listed.returncode == 0
    assert "vancomycin" in listed.stdout
    wrong = run("nowhere.csv", "--model", "vancomycin")
    assert wrong.returncode == 2
    assert "no file nowhere.csv" in wrong.stderr
    assert "Try:" in wrong.stderr
    assert "Traceback" not in wrong.stderr
