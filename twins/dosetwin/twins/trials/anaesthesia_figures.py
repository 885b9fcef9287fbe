"""The figures of a propofol trial's report: index, pressure, drug pairs, time in range, induction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from dosetwin.twins.diagnostics.plot_style import (
    BAND,
    GREY,
    INDIVIDUAL,
    INK,
    PALE,
    POPULATION,
    Plot,
    panels,
    style,
)
from dosetwin.twins.plants.anaesthesia_people import C50_PROPOFOL, C50_REMIFENTANIL, E0, GAMMA, age_factor
from dosetwin.twins.trials.anaesthesia_measures import DEEP, HIGH, HYPOTENSION, LOW
from dosetwin.twins.trials.trial import Outcome

Floats = npt.NDArray[np.float64]
IN_RANGE = "bis_40_60_pct"
SHARES = (
    ("bis_below_40_pct", "below 40", "#0072B2"),
    (IN_RANGE, "40-60", "#009E73"),
    ("bis_above_60_pct", "above 60", "#E69F00"),
)
ISOBOLE_AGE_A = 50.0


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Plot]:
    """By title, from one outcome a policy of the same patients; the first one says who is in the middle."""
    return {
        "BIS through the operation": courses(outcomes, "bis", "BIS", (LOW, HIGH), (0.0, 100.0)),
        "Mean arterial pressure through the operation": courses(
            outcomes, "mean_arterial_pressure", "mm[Hg]", (HYPOTENSION, HYPOTENSION), (30.0, 150.0)
        ),
        "Maintenance in range, mean and worst patient": ranges(outcomes),
        "Induction time and lowest BIS": inductions(outcomes),
        "Hypotension, and what is reachable at all": hypotension(outcomes),
        "Drug pairs on the plane of isoboles": pairs(outcomes),
    }


def worst(outcome: Outcome) -> int:
    """The patient with the least maintenance in range."""
    return int(np.nanargmin(outcome.measures[IN_RANGE]))


def courses(
    outcomes: Mapping[str, Outcome],
    name: str,
    unit: str,
    limits: tuple[float, float],
    shown: tuple[float, float],
) -> Plot:
    """A panel a policy: median, 25-75 % and 5-95 % of the patients, and who was longest out of range."""
    with style():
        figure, axes = panels(len(outcomes), 1, height=1.7, sharex=True, sharey=True)
        words = []
        for axis, (policy, outcome) in zip(axes, outcomes.items(), strict=True):
            values = np.asarray(outcome.traces[name], float)
            minutes = (np.asarray(outcome.time_s, float) - outcome.time_s[0]) / 60.0
            low, quarter, middle, three, high = np.percentile(values, [5, 25, 50, 75, 95], axis=0)
            axis.axhspan(limits[0], limits[1] + 0.4, color="#009E73", alpha=0.15)
            axis.fill_between(minutes, low, high, color=BAND, alpha=0.3, linewidth=0, label="5-95 %")
            axis.fill_between(minutes, quarter, three, color=BAND, alpha=0.55, linewidth=0, label="25-75 %")
            axis.plot(minutes, middle, color=POPULATION, label="median")
            axis.plot(minutes, values[worst(outcome)], color=INDIVIDUAL, linewidth=0.7, label="worst patient")
            axis.set(title=policy, ylabel=unit, ylim=shown, xlim=(0, minutes[-1]))
            words.append(
                f"{policy}: median {np.median(middle):.0f}, 5-95 % {low.mean():.0f}-{high.mean():.0f}"
            )
        axes[-1].set_xlabel("minutes since the beginning of induction")
        axes[0].legend(loc="upper right", ncols=4)
        figure.set_label(f"{name.replace('_', ' ')} over time; " + "; ".join(words))
    return figure


def ranges(outcomes: Mapping[str, Outcome]) -> Plot:
    """Shares of maintenance below, in and above 40-60: the mean of the patients, and the worst patient."""
    with style():
        figure, axes = panels(1, 2, height=0.9 + 0.4 * len(outcomes), sharey=True)
        words = []
        for row, (policy, outcome) in enumerate(outcomes.items()):
            each = np.array([np.asarray(outcome.measures[name], float) for name, *_ in SHARES])
            for axis, shares in zip(axes, (np.nanmean(each, axis=1), each[:, worst(outcome)]), strict=True):
                left = 0.0
                for share, (_, _, colour) in zip(shares, SHARES, strict=True):
                    axis.barh(row, share, left=left, color=colour, edgecolor="white", linewidth=0.5)
                    if share >= 6.0:
                        axis.text(left + share / 2, row, f"{share:.0f}", ha="center", va="center", fontsize=7)
                    left += share
            words.append(f"{policy} mean {np.nanmean(each[1]):.1f} %, worst {each[1, worst(outcome)]:.1f} %")
        for axis, title in zip(axes, ("Mean of patients", "Worst patient"), strict=True):
            axis.set(title=title, xlim=(0, 100), xlabel="% of maintenance")
            axis.grid(False)
        _named(axes[0], outcomes)
        handles = [axes[0].barh(0, 0, color=colour, label=f"BIS {label}") for _, label, colour in SHARES]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        figure.set_label("Maintenance with BIS in 40-60: " + "; ".join(words))
    return figure


def inductions(outcomes: Mapping[str, Outcome]) -> Plot:
    """Every patient's time to BIS 60 and lowest BIS; below 30 is overshoot."""
    sides = (("induction_min", "minutes to BIS 60"), ("lowest_bis", "lowest BIS"))
    with style():
        figure, axes = panels(1, 2, height=0.9 + 0.4 * len(outcomes), sharey=True)
        words = []
        for axis, (measure, title) in zip(axes, sides, strict=True):
            for row, (policy, outcome) in enumerate(outcomes.items()):
                values = np.sort(np.asarray(outcome.measures[measure], float))
                spread = np.linspace(-0.3, 0.3, values.size) if values.size > 1 else np.zeros(1)
                axis.plot(values, row + spread, ".", color=INK, alpha=0.4, markersize=3)
                axis.plot([np.median(values)], [row], "D", color=f"C{row}", markersize=6)
                words.append(f"{title} {policy} median {np.median(values):.1f}")
            axis.set_xlabel(title)
        axes[0].set_xlim(left=0.0)
        axes[1].axvline(DEEP, color=INDIVIDUAL, linewidth=1.0)
        _named(axes[0], outcomes)
        figure.set_label("Induction and overshoot: " + "; ".join(words))
    return figure


def hypotension(outcomes: Mapping[str, Outcome]) -> Plot:
    """Mean share of maintenance below 65 mm[Hg] of each policy beside the oracle's, same patients."""
    with style():
        figure, axes = panels(1, 1, height=0.9 + 0.4 * len(outcomes))
        axis, words = axes[0], []
        for row, (policy, outcome) in enumerate(outcomes.items()):
            found, least = (
                float(np.nanmean(outcome.measures[name]))
                for name in ("map_below_65_pct", "map_below_65_floor_pct")
            )
            axis.barh(row, found, height=0.6, color=PALE, edgecolor=GREY)
            axis.plot([least, least], [row - 0.4, row + 0.4], color=INDIVIDUAL, linewidth=2)
            axis.text(found, row, f" {found:.1f} %", va="center", fontsize=7)
            words.append(f"{policy} {found:.1f} % (reachable {least:.1f} %)")
        axis.set(
            xlabel="% of maintenance with mean arterial pressure below 65 mm[Hg]; line: reachable at all"
        )
        _named(axis, outcomes)
        figure.set_label("Pressure below 65: " + "; ".join(words))
    return figure


def pairs(outcomes: Mapping[str, Outcome]) -> Plot:
    """The way of both effect sites, of two patients, on the isoboles of a typical adult."""
    with style():
        columns = min(3, len(outcomes))
        rows = -(-len(outcomes) // columns)
        figure, axes = panels(rows, columns, height=2.5, sharex=True, sharey=True)
        remifentanil = np.linspace(0.0, 8.0, 50)
        C50 = C50_PROPOFOL * float(age_factor(np.array(ISOBOLE_AGE_A)))
        reference = next(iter(outcomes.values()))
        order = np.argsort(reference.measures[IN_RANGE], kind="stable")
        for axis, (policy, outcome) in zip(axes, outcomes.items(), strict=False):
            for index in (40.0, 50.0, 60.0):
                U = (E0 / index - 1.0) ** (1.0 / GAMMA)
                axis.plot(
                    remifentanil,
                    C50 * np.maximum(U - remifentanil / C50_REMIFENTANIL, 0.0),
                    color=GREY,
                    lw=0.8,
                )
                axis.text(
                    8.0, C50 * max(U - 8.0 / C50_REMIFENTANIL, 0.0), f"{index:.0f}", fontsize=6, color=GREY
                )
            for patient, colour, label in (
                (int(order[len(order) // 2]), POPULATION, "middle patient"),
                (int(order[0]), INDIVIDUAL, "worst patient"),
            ):
                axis.plot(
                    outcome.traces["remifentanil_effect_site"][patient],
                    outcome.traces["propofol_effect_site"][patient],
                    color=colour,
                    linewidth=0.7,
                    label=label,
                )
            axis.set(title=policy, xlim=(0, 8.5), ylim=(0, 10), xlabel="remifentanil (ng/mL)")
        for axis in axes[len(outcomes) :]:
            axis.set_visible(False)
        axes[0].set_ylabel("propofol (ug/mL)")
        axes[0].legend(loc="upper right")
        figure.set_label(
            "Effect-site concentrations on the lines of BIS 40, 50 and 60 without a stimulus (Bouillon 2004,"
            " 50 years)"
        )
    return figure


def _named(axis: Axes, outcomes: Mapping[str, Outcome]) -> None:
    axis.set_yticks(range(len(outcomes)), list(outcomes))
    axis.invert_yaxis()
