"""The report of a virtual trial: one HTML file, the figures that matter first, and how to get them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dosetwin.twins.diagnostics.report_page import Page, number
from dosetwin.twins.trials import report_figures, report_tables
from dosetwin.twins.trials.report_figures import every_patient, figure_markup
from dosetwin.twins.trials.report_tables import challenges_table, differences_table, results_table
from dosetwin.twins.trials.result import NONE, TrialResult, lifetime
from dosetwin.twins.trials.trial import Outcome, Trial

FEW_PATIENTS = 20
TWIN_TITLE = "the twin's own closed loop: forecast under the posterior, scored candidates, safety supervisor"


@dataclass(frozen=True)
class Origin:
    """What made the report: the command that makes it again, the version, the fingerprint of the code."""

    command: str
    version: str
    code: str


def trial_report(
    trial: Trial, result: TrialResult, outcomes: Mapping[tuple[str, str], Outcome], origin: Origin
) -> str:
    """The page as HTML. A function of its arguments: no date, the same input gives the same bytes."""
    setting = result.setting
    challenge = setting.challenges[0]
    page = Page(
        f"Virtual trial: {setting.therapy} on {setting.plant}",
        _lead(result),
        report_tables.CSS + report_figures.CSS,
    )
    page.tiles(_tiles(result, challenge))
    if setting.patients < FEW_PATIENTS:
        page.warning(
            f"{setting.patients} patients are few: intervals of skewed measures are too short below about "
            f"{FEW_PATIENTS} patients, and the worst of few patients is not a bad patient."
        )
    page.section("Results")
    page.markup(results_table(result, challenge))
    if len(setting.policies) > 1:
        page.section(f"Against {setting.policies[0]}")
        page.markup(differences_table(result, challenge))
    if len(setting.challenges) > 1:
        _challenges(page, trial, result)
    page.section("Figures")
    if len(setting.challenges) > 1:
        page.text(f"Of challenge {challenge or NONE}; run another one alone for its figures.")
    drawn = trial.figures({policy: outcomes[challenge, policy] for policy in setting.policies})
    for title, figure in drawn.items():
        page.markup(figure_markup(title, figure))
    page.markup(figure_markup("Every patient", every_patient(result, outcomes, challenge)))
    _policies(page, trial, result)
    _reading(page, result)
    page.section("Run it again")
    page.code(origin.command)
    page.text(
        f"dosetwin {origin.version}, code {origin.code}. The same code and command give the same numbers, "
        "bit for bit, with any number of workers. One patient alone: add --first-patient NUMBER --patients 1."
    )
    return page.html("Simulated patients, not people. Not a medical device.")


def _lead(result: TrialResult) -> str:
    setting = result.setting
    last = setting.first_patient + setting.patients - 1
    words = [f"{setting.patients:,} virtual patients (numbers {setting.first_patient} to {last})"]
    if setting.group:
        words.append(f"group {setting.group}")
    words += [f"{lifetime(setting.days)} each", f"seed {setting.seed}"]
    if setting.challenges != ("",):
        words.append("challenge " + ", ".join(name or NONE for name in setting.challenges))
    words += [f"{name}={value}" for name, value in setting.options.items()]
    return ", ".join(words) + ". The same patients, events and noise under every policy."


def _tiles(result: TrialResult, challenge: str) -> list[tuple[str, str, bool]]:
    """The first policy's first measures: what the trial is about."""
    setting = result.setting
    first = setting.policies[0]
    tiles = [(f"{setting.patients:,}", "patients", True), (lifetime(setting.days), "each", True)]
    for measure in result.measures[:3]:
        found = result.summaries[challenge, first][measure.name]
        figure = f"{number(found.mean, 3)} {measure.unit}".rstrip()
        worst = number(found.worst, 3)
        tiles.append((figure, f"{measure.title}, {first}; worst patient {worst}", True))
    return tiles


def _challenges(page: Page, trial: Trial, result: TrialResult) -> None:
    page.section("By challenge")
    words = {"": "as described, nothing more", **trial.challenges}
    page.items([f"{name or NONE}: {words.get(name, '')}" for name in result.setting.challenges])
    for measure in result.measures:
        page.heading(measure.name)
        page.markup(challenges_table(result, measure))


def _policies(page: Page, trial: Trial, result: TrialResult) -> None:
    page.section("Policies")
    titles = {name: comparator.title for name, comparator in trial.comparators.items()}
    page.items([f"{name}: {titles.get(name, TWIN_TITLE)}" for name in result.setting.policies])
    maker = trial.plants[result.setting.plant]
    about = plant_words(maker.__doc__ or "")
    if about:
        page.text(f"Plant {result.setting.plant}: {about}")
    if result.setting.challenges != ("",) and len(result.setting.challenges) == 1:
        name = result.setting.challenges[0]
        page.text(f"Challenge {name}: {trial.challenges.get(name, '')}")


def plant_words(docstring: str) -> str:
    """What a plant says of itself, without the sentences that speak of code."""
    sentences = " ".join(docstring.split()).replace(". ", ".\n").split("\n")
    return " ".join(sentence for sentence in sentences if "`" not in sentence)


def _reading(page: Page, result: TrialResult) -> None:
    page.section("How to read this, and what it cannot say")
    page.items(
        [
            "These patients are a model. It differs from the twin's own model in structure, but what "
            "neither of the two has cannot show here. Results say how policies compare on this plant, not "
            "what they would do in people.",
            "Intervals are of the mean over patients of this plant: a bootstrap over patients "
            "(bias-corrected and accelerated, widened for few; Efron 1987, Hesterberg 2015). They say "
            "nothing of how wrong the plant is. With 5 patients a 95 % interval covers about 91 % for "
            "symmetric and 80 % for very skewed measures, with 20 patients 95 and 90 %.",
            "An interval of no width says that all patients had the same value, not that no patient can have "
            "another: after 0 of n patients up to 3 in n may still have it (Hanley & Lippman-Hand 1983).",
            "The worst patient is the worst of those simulated; more patients find worse ones.",
            "Differences are paired, and not corrected for the number of comparisons: of 20 that are none, "
            "one may be called better or worse.",
            "Where fewer patients are given, the measure cannot be said of the others (a time to something "
            "that never happened, for example); the mean is of those alone; policies may differ in which.",
        ]
    )
