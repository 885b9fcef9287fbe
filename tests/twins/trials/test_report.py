"""The page of a trial: alone on its own, legible, honest about what it lacks, the same for the same input."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dosetwin.twins.diagnostics.plot_style import panels, style
from dosetwin.twins.trials import report_figures
from dosetwin.twins.trials.report import Origin, trial_report
from dosetwin.twins.trials.report_tables import verdict
from dosetwin.twins.trials.result import Setting, TrialResult, trial_result
from dosetwin.twins.trials.statistics import Difference
from dosetwin.twins.trials.trial import Cohort, Comparator, Controller, Measure, Outcome, Trial, TrialPlant

ORIGIN = Origin("dosetwin trial testamycin --seed 5", "0.1.0", "c0de")
MEASURES = (
    Measure("in_range_pct", "%", "higher", "time in range"),
    Measure("below_pct", "%", "lower", "time below <low>"),
    Measure("first_low_h", "h", "higher", "time to the first low"),
)


def ward(cohort: Cohort) -> TrialPlant:
    """Patients of one compartment & a "noisy" level.

    A second line. See `Cohort`; raises NotImplementedError.
    """
    raise NotImplementedError


def nobody(patients: Any, seed: int) -> Controller:
    raise NotImplementedError


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    with style():
        figure, (axis,) = panels(1, 1)
        for policy, outcome in outcomes.items():
            axis.plot(outcome.time_s, outcome.traces["level"].mean(axis=0), label=policy)
    figure.set_label("Levels rise, then stay.")
    with style():
        plain, (axis,) = panels(1, 1)
        axis.plot([0, 1], [1, 2])
    return {"Level over time": figure, "A line": plain}


TRIAL = Trial(
    therapy="testamycin",
    plants={"ward": ward},
    comparators={"label": Comparator(nobody, "the label's dose, <Table 2>")},
    measures=MEASURES,
    default_days=1.0,
    figures=figures,
    challenges={"wrong-weight": "weights are 20 % too high"},
)


def outcome(policy: str, n: int, challenge: str = "") -> Outcome:
    rng = np.random.default_rng(0)
    good = 70 + 10 * rng.random(n) + (8 if policy == "dosetwin" else 0) - (5 if challenge else 0)
    time_s = np.arange(10.0)
    return Outcome(
        {"in_range_pct": good, "below_pct": np.zeros(n), "first_low_h": np.full(n, np.nan)},
        time_s,
        {"level": np.outer(good, 1 - np.exp(-time_s))},
    )


def made(
    n: int = 25, challenges: tuple[str, ...] = ("",)
) -> tuple[TrialResult, dict[tuple[str, str], Outcome]]:
    setting = Setting("testamycin", "ward", n, 100, 1.0, 5, ("dosetwin", "label"), challenges=challenges)
    outcomes = {(c, p): outcome(p, n, c) for c in challenges for p in setting.policies}
    return trial_result(setting, MEASURES, outcomes), outcomes


def page_of(n: int = 25, challenges: tuple[str, ...] = ("",)) -> str:
    return trial_report(TRIAL, *made(n, challenges), ORIGIN)


def test_the_page_needs_nothing_but_itself_and_is_the_same_again() -> None:
    page = page_of()
    assert page == page_of()
    assert not re.search(r'(?:src|href)="(?!data:image|#)', page)
    assert "<script" not in page
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) == 3
    assert all(re.search(r'alt="[^"]{6,}"', image) for image in images)
    assert 'alt="Levels rise, then stay."' in page


def test_it_says_what_was_simulated_and_how_to_do_it_again() -> None:
    page = page_of()
    assert "<h1>Virtual trial: testamycin on ward</h1>" in page
    assert "25 virtual patients (numbers 100 to 124), 1 day each, seed 5" in page
    assert ORIGIN.command in page
    assert "code c0de" in page
    assert "Simulated patients, not people" in page
    assert page.index("time in range") < page.index("Level over time")
    assert "Patients of one compartment &amp; a &quot;noisy&quot; level. A second line.</p>" in page


def test_what_people_wrote_is_text() -> None:
    page = page_of()
    assert "time below &lt;low&gt;" in page
    assert "the label&#x27;s dose, &lt;Table 2&gt;" in page
    assert "<low>" not in page


def test_tables_give_mean_interval_worst_and_whether_the_difference_is_one() -> None:
    result, _ = made()
    page = page_of()
    summary = result.summaries["", "dosetwin"]["in_range_pct"]
    assert f"<b>{summary.mean:.1f}</b><small>{summary.low:.1f} to {summary.high:.1f}</small>" in page
    assert f"worst {summary.worst:.1f} (patient {100 + summary.worst_index})" in page
    assert "<b>-8.00</b>" in page
    assert "▼ worse" in page
    assert "○ no difference shown" in page
    assert "of no patient" in page


@pytest.mark.parametrize(
    ("better", "low", "high", "said"),
    [
        ("higher", 1.0, 2.0, "better"),
        ("higher", -2.0, -1.0, "worse"),
        ("lower", 1.0, 2.0, "worse"),
        ("lower", -2.0, -1.0, "better"),
        ("lower", -1.0, 1.0, ""),
        ("higher", 0.0, 0.0, ""),
        ("higher", math.nan, math.nan, ""),
    ],
)
def test_a_difference_is_called_one_only_where_its_interval_leaves_out_zero(
    better: Any, low: float, high: float, said: str
) -> None:
    measure = replace(MEASURES[0], better=better)
    assert verdict(measure, Difference(9, (low + high) / 2, low, high)) == said


def test_few_patients_are_warned_of_and_many_are_not() -> None:
    assert "5 patients are few" in page_of(5)
    assert "are few" not in page_of(25)


def test_challenges_are_set_side_by_side() -> None:
    result, _ = made(challenges=("", "wrong-weight"))
    page = page_of(challenges=("", "wrong-weight"))
    assert "wrong-weight: weights are 20 % too high" in page
    assert '<th scope="row">wrong-weight</th>' in page
    line = result.line()
    assert line["challenge"] == "none"
    assert line["policies"] == line["challenges"]["none"]
    mean = line["challenges"]["wrong-weight"]["label"]["in_range_pct"]["mean"]
    assert mean == pytest.approx(line["policies"]["label"]["in_range_pct"]["mean"] - 5)
    assert line["policies"]["label"]["first_low_h"] == {"mean": None, "worst": None, "ci95": [None, None]}


def test_a_figure_too_large_for_lines_becomes_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_figures, "LARGEST_SVG", 100)
    assert page_of().count("data:image/png;base64,") == 3
