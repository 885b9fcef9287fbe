"""Pictures of a replay: observed against predicted, and one small course a patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dosetwin.platform.contracts import Prediction
from dosetwin.stream_jobs.replay.recording import DataSet

MOST_COURSES = 24
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"
"""Okabe-Ito colours, told apart by the colour-blind."""


def draw_plots(data_set: DataSet, found: Mapping[str, Sequence[Prediction]], folder: Path) -> list[Path]:
    """Write the pictures as PNG under `folder`; returns their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    return [_observed_predicted(data_set, found, folder), _courses(data_set, found, folder)]


def _observed_predicted(data_set: DataSet, found: Mapping[str, Sequence[Prediction]], folder: Path) -> Path:
    from matplotlib import pyplot as plt

    every = [p for predictions in found.values() for p in predictions if p.observed > 0]
    unit = every[0].unit if every else ""
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
    for ax, title, values in (
        (axes[0], "a priori (population)", [p.population or math.nan for p in every]),
        (axes[1], "one step ahead", [p.median or math.nan for p in every]),
    ):
        ax.loglog(values, [p.observed for p in every], ".", color=BLUE, alpha=0.4, markersize=5)
        ends = [min(p.observed for p in every) / 2, max(p.observed for p in every) * 2] if every else [1, 2]
        ax.plot(ends, ends, color=GREY, linewidth=1)
        ax.set(title=title, xlabel=f"predicted ({unit})", ylabel=f"observed ({unit})")
    figure.suptitle(f"{data_set.name}: {len(data_set.patients)} patients, {len(every)} levels")
    path = folder / f"{data_set.name}-observed-predicted.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _courses(data_set: DataSet, found: Mapping[str, Sequence[Prediction]], folder: Path) -> Path:
    from matplotlib import pyplot as plt

    shown = [(name, p) for name, p in found.items() if p][:MOST_COURSES]
    columns = 4
    rows = max(1, math.ceil(len(shown) / columns))
    figure, axes = plt.subplots(rows, columns, figsize=(14, 2.6 * rows), squeeze=False, layout="constrained")
    for ax, (name, predictions) in zip(axes.flat, shown, strict=False):
        ordered = sorted(predictions, key=lambda p: p.at)
        hours = [(p.at - ordered[0].at).total_seconds() / 3600 for p in ordered]
        low, high = [p.low for p in ordered], [p.high for p in ordered]
        median = [p.median for p in ordered]
        error = [
            [m - a for m, a in zip(median, low, strict=True)],
            [b - m for m, b in zip(median, high, strict=True)],
        ]
        ax.errorbar(hours, median, yerr=error, fmt="_", color=BLUE, elinewidth=1, label="predicted, 90 %")
        population = [p.population if p.population is not None else math.nan for p in ordered]
        ax.plot(hours, population, color=GREY, linewidth=1, label="a priori")
        ax.plot(hours, [p.observed for p in ordered], ".", color=ORANGE, label="observed")
        ax.set_title(name, fontsize=8)
    for ax in list(axes.flat)[len(shown) :]:
        ax.axis("off")
    if shown:
        axes[0, 0].legend(fontsize=7)
        figure.supxlabel("hours since the first level")
        figure.supylabel(f"{shown[0][1][0].quantity} ({shown[0][1][0].unit})")
    path = folder / f"{data_set.name}-patients.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path
