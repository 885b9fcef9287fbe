"""Plots say what they show, leave matplotlib's state alone, and make one self-contained page."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics import plots
from dosetwin.twins.diagnostics.fit_result import individual_result
from dosetwin.twins.diagnostics.plot_style import Plot
from dosetwin.twins.diagnostics.report import fit_report
from dosetwin.twins.diagnostics.report_page import number
from dosetwin.twins.diagnostics.report_plan import ReportPlan
from dosetwin.twins.diagnostics.tables import prediction_table
from dosetwin.twins.diagnostics.vpc import visual_predictive_check
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel


@pytest.fixture(scope="module")
def table(fits: IndividualFits) -> pd.DataFrame:
    return prediction_table(fits, replicates=200, seed=1)


def words(figure: Plot) -> str:
    found = []
    for axis in figure.axes:
        found += [axis.get_xlabel(), axis.get_ylabel(), axis.get_title(loc="left"), axis.get_title()]
    return " | ".join([*found, *(text.get_text() for text in figure.texts)])


def test_every_plot_is_drawn_with_units(
    model: PopulationModel, fits: IndividualFits, table: pd.DataFrame, tmp_path: Path
) -> None:
    before = dict(mpl.rcParams)
    check = visual_predictive_check(model, fits.cohort, replicates=100, lloq=0.8)
    figures = {
        "mg/L": plots.observed_vs_predicted(table, model),
        "time (h)": plots.residual_plots(table, model),
        "NPDE": plots.npde_plots(table, model),
        "testamycin (mg/L)": plots.vpc_plot(check),
        "shrinkage": plots.eta_distributions(fits),
        "weight": plots.etas_vs_covariates(fits),
        "iterations": plots.search_plot(fits),
        "iteration": plots.convergence([3.0, 2.0, 1.5]),
    }
    for name, figure in figures.items():
        assert isinstance(figure, Plot)
        assert name in words(figure), name
        path = tmp_path / "figure.png"
        figure.savefig(path)
        assert path.stat().st_size > 5_000
    assert figures["mg/L"]._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before


def test_an_svg_is_the_same_every_time(model: PopulationModel, table: pd.DataFrame) -> None:
    first, second = (plots.observed_vs_predicted(table, model).svg() for _ in range(2))
    assert first == second
    assert first.startswith("<svg")


def test_points_are_the_measured_values(model: PopulationModel, table: pd.DataFrame) -> None:
    axis = plots.observed_vs_predicted(table, model).axes[1]
    drawn = np.asarray(axis.collections[0].get_offsets())
    measured = table[(table["CENS"] == 0) & table["DV"].notna()]
    np.testing.assert_allclose(drawn, measured[["IPRED", "DV"]].to_numpy())


def test_individual_fits_come_in_pages(fits: IndividualFits) -> None:
    pages = plots.individual_fits(fits, rows=4, columns=3)
    assert len(pages) == 4
    assert "S13" in words(pages[1])
    lost = replace(fits, converged=np.arange(40) != 1)
    (page,) = plots.individual_fits(lost, subjects=["S1", "S2"])
    assert "S2  not converged" in words(page)
    with pytest.raises(ModelError, match="S99"):
        plots.individual_fits(fits, subjects=["S99"])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_report_is_one_file_that_names_what_went_wrong(
    fits: IndividualFits, study: Dataset, table: pd.DataFrame
) -> None:
    basins = fits.basins.copy()
    basins[4] = 2
    troubled = replace(fits, converged=np.arange(40) != 2, basins=basins)
    plan = ReportPlan(
        individual_result("testamycin", troubled), study, "MODEL = <this & that>", seed=3, replicates=100
    )
    html = fit_report(troubled, plan, table=table)
    page = _Reader()
    page.feed(html)
    assert page.open == []
    assert all(source.startswith(("data:image/svg+xml;base64,", "#s")) for source in page.sources)
    assert sum(source.startswith("data:") for source in page.sources) >= 9
    text = "".join(page.text)
    assert "1 of 40 individual searches did not converge" in text
    assert "where the search ended: S3." in text
    assert "1 subjects have more than one mode" in text
    assert "a note of the reader" in text
    assert "MODEL = <this & that>" in text
    assert "n log(2 pi)" in text
    for heading in ("Estimates", "Data", "Goodness of fit", "Individual fits", "Predictive check", "Model"):
        assert heading in page.headings


def test_numbers_are_readable() -> None:
    assert [number(v) for v in (0.0046956, 58.4, 1234.5678, float("nan"), 0, 12345678.0)] == [
        "0.004696",
        "58.40",
        "1235",
        "–",
        "0",
        "1.235e+07",
    ]
