"""The figures of a glucose trial's report: ranges by policy, differences, profiles, the sensor's errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dosetwin.twins.diagnostics.plot_style import GREY, INK, Plot, panels, style
from dosetwin.twins.trials.glucose_agp import BANDS, profile, shares_pct
from dosetwin.twins.trials.glucose_error_grid import error_grid
from dosetwin.twins.trials.trial import Outcome

Floats = npt.NDArray[np.float64]
TIR = "time_in_range_pct"
DIFFERENCES = ((TIR, "time in 70-180 mg/dL"), ("below_70_pct", "time below 70 mg/dL"))


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Plot]:
    """By title, from one outcome a policy of the same patients; the first policy is the one compared.

    Profiles are of two patients, under every policy: the one in the middle and the worst by time in range
    under the first policy.
    """
    drawn = {"Time in ranges, mean and worst patient": ranges(outcomes)}
    names = list(outcomes)
    if len(names) > 1:
        drawn[f"Paired differences from {names[0]}"] = differences(outcomes)
    reference = outcomes[names[0]]
    order = np.argsort(reference.measures[TIR], kind="stable")
    chosen = {"middle patient": int(order[len(order) // 2]), "worst patient": int(order[0])}
    for who, index in chosen.items():
        for name, outcome in outcomes.items():
            title = f"Ambulatory glucose profile, {name}, {who} of {names[0]}"
            readings = np.asarray(outcome.traces["sensor_glucose"], float)[index]
            drawn[title] = profile(
                np.asarray(outcome.time_s, float), readings, f"{name}, {who} of {names[0]}"
            )
    drawn["Consensus error grid of the sensor"] = error_grid(
        np.asarray(reference.traces["plasma_glucose"], float),
        np.asarray(reference.traces["sensor_glucose"], float),
    )
    return drawn


def ranges(outcomes: Mapping[str, Outcome]) -> Plot:
    """The bar of five of plasma glucose for each policy: the mean of the patients, and the worst of them."""
    with style():
        figure, axes = panels(1, 2, height=0.9 + 0.45 * len(outcomes), sharey=True)
        words = []
        for row, (name, outcome) in enumerate(outcomes.items()):
            plasma = np.asarray(outcome.traces["plasma_glucose"], float)
            each = np.array([shares_pct(patient) for patient in plasma])
            worst = int(np.argmin(outcome.measures[TIR]))
            for axis, shares in zip(axes, (each.mean(axis=0), each[worst]), strict=True):
                left = 0.0
                for (*_, colour), share in zip(BANDS[::-1], shares[::-1], strict=True):
                    axis.barh(row, share, left=left, color=colour, edgecolor="white", linewidth=0.5)
                    if share >= 7.0:
                        axis.text(left + share / 2, row, f"{share:.0f}", ha="center", va="center", fontsize=7)
                    left += share
            words.append(f"{name} mean {each.mean(axis=0)[2]:.1f} % in range, worst {each[worst][2]:.1f} %")
        for axis, title in zip(axes, ("Mean of patients", "Worst patient"), strict=True):
            axis.set(title=title, xlim=(0, 100), xlabel="% of time")
            axis.grid(False)
        axes[0].set_yticks(range(len(outcomes)), list(outcomes))
        axes[0].invert_yaxis()
        handles = [axes[0].barh(0, 0, color=band[5], label=f"{band[0]} {band[3]}") for band in BANDS[::-1]]
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        figure.set_label("Time in ranges of plasma glucose: " + "; ".join(words))
    return figure


def differences(outcomes: Mapping[str, Outcome]) -> Plot:
    """Each patient's measure under the first policy minus that under another: points, and their mean."""
    (first, reference), *others = outcomes.items()
    with style():
        figure, axes = panels(1, len(DIFFERENCES), height=1.1 + 0.5 * len(others), sharey=True)
        words = []
        for axis, (measure, title) in zip(axes, DIFFERENCES, strict=True):
            for row, (name, outcome) in enumerate(others):
                gain = np.asarray(reference.measures[measure] - outcome.measures[measure], float)
                spread = np.linspace(-0.25, 0.25, gain.size) if gain.size > 1 else np.zeros(1)
                axis.plot(np.sort(gain), row + spread, ".", color=INK, alpha=0.5, markersize=4)
                axis.plot([gain.mean()], [row], "D", color=f"C{row + 1}", markersize=6)
                words.append(f"{title} against {name} {gain.mean():+.1f} points")
            axis.axvline(0.0, color=GREY, linewidth=1.0)
            axis.set(title=f"{first} - other: {title}", xlabel="percentage points")
        axes[0].set_yticks(range(len(others)), [name for name, _ in others])
        axes[0].invert_yaxis()
        figure.set_label(f"Differences of {first}, patient by patient: " + "; ".join(words))
    return figure
