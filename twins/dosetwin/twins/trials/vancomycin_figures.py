"""What people look at after a vancomycin trial: attainment over time, areas by day, samples, courses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dosetwin.twins.diagnostics.plot_style import GREY, panels, style
from dosetwin.twins.trials.trial import Outcome

LOW, HIGH = 400.0, 600.0
SHOWN = 6
DAYS = (24, 48, 72)


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """One outcome a policy, of the same patients."""
    with style():
        return {
            "Target attainment over time": attainment(outcomes),
            "AUC24 at 24, 48 and 72 h": areas(outcomes),
            "Samples used": samples(outcomes),
            "Concentrations of the first patients": courses(outcomes),
        }


def attainment(outcomes: Mapping[str, Outcome]) -> Any:
    """Share of patients whose area over the last 24 h lies in 400-600 and above, 95 % intervals."""
    figure, axes = panels(1, 2, height=3.2)
    for k, (name, outcome) in enumerate(outcomes.items()):
        area, hours = outcome.traces["auc24"], outcome.time_s / 3600.0
        known = hours >= 24.0
        for axis, hit in zip(axes, ((area >= LOW) & (area <= HIGH), area > HIGH), strict=True):
            share, n = hit.mean(axis=0), len(area)
            # Wilson's interval: never outside 0 to 1
            z2 = 1.96**2
            centre = (share + z2 / (2 * n)) / (1 + z2 / n)
            half = 1.96 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
            axis.plot(hours[known], 100 * share[known], color=f"C{k}", label=name)
            low, high = 100 * (centre - half), 100 * (centre + half)
            axis.fill_between(hours[known], low[known], high[known], color=f"C{k}", alpha=0.15, linewidth=0)
    for axis, title in zip(axes, ("AUC24 400-600 mg.h/L", "AUC24 above 600 mg.h/L"), strict=True):
        axis.set_title(title)
        axis.set_xlabel("hours since the first dose")
        axis.set_ylabel("% of patients")
        axis.set_ylim(0, 100)
    axes[0].legend(fontsize=7)
    figure.set_label(
        "Share of patients whose area over the last 24 h is within and above the target, 95 % CI"
    )
    return figure


def areas(outcomes: Mapping[str, Outcome]) -> Any:
    """The distribution of AUC24 of the first, second and third day."""
    figure, axes = panels(1, len(DAYS), height=3.0)
    for axis, hour in zip(axes, DAYS, strict=True):
        axis.axhspan(LOW, HIGH, color=GREY, alpha=0.2, linewidth=0)
        drawn = []
        for outcome in outcomes.values():
            at = int(np.abs(outcome.time_s / 3600.0 - hour).argmin())
            values = outcome.traces["auc24"][:, at]
            drawn.append(values[np.isfinite(values)])
        axis.boxplot(drawn, whis=(5, 95), showfliers=False, widths=0.6)
        axis.set_xticks(np.arange(1, len(outcomes) + 1), list(outcomes), rotation=30, ha="right", fontsize=7)
        axis.set_title(f"day ending at {hour} h")
        axis.set_ylabel("AUC24, mg.h/L")
    figure.set_label("AUC24 by day: median, quartiles, 5 % and 95 %; the band is the target")
    return figure


def samples(outcomes: Mapping[str, Outcome]) -> Any:
    """How many levels were drawn from a patient."""
    figure, (axis,) = panels(1, 1, height=2.8)
    most = int(max(np.nanmax(outcome.measures["samples"]) for outcome in outcomes.values()))
    width = 0.8 / len(outcomes)
    for k, (name, outcome) in enumerate(outcomes.items()):
        counts = np.bincount(outcome.measures["samples"].astype(int), minlength=most + 1)
        axis.bar(
            np.arange(most + 1) + k * width - 0.4,
            100 * counts / counts.sum(),
            width,
            label=name,
            align="edge",
        )
    axis.set_xlabel("levels drawn from a patient")
    axis.set_ylabel("% of patients")
    axis.legend(fontsize=7)
    figure.set_label("Levels drawn from a patient over the trial")
    return figure


def courses(outcomes: Mapping[str, Outcome]) -> Any:
    """Concentrations of a few patients under every policy."""
    count = min(SHOWN, len(next(iter(outcomes.values())).traces["vancomycin"]))
    figure, axes = panels(-(-count // 3), min(3, count), height=2.4)
    for i in range(count):
        for k, (name, outcome) in enumerate(outcomes.items()):
            axes[i].plot(
                outcome.time_s / 3600.0,
                outcome.traces["vancomycin"][i],
                color=f"C{k}",
                linewidth=0.8,
                label=name,
            )
        axes[i].set_title(f"patient {i + 1}", fontsize=8)
        axes[i].set_xlabel("h")
        axes[i].set_ylabel("mg/L")
    axes[0].legend(fontsize=6)
    figure.set_label("Vancomycin in plasma of the first patients, hour by hour")
    return figure
