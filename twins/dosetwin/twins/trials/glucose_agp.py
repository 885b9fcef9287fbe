"""The ambulatory glucose profile: one page of a person's last 14 days, as the consensus has it.

Three blocks: statistics and the bar of five ranges | the day's profile by percentiles 5, 25, 50, 75, 95 with
the target's lines | a small plot a day. Ranges and their goals: Battelino et al., Diabetes Care 2019;42:1593,
doi:10.2337/dci19-0028. Percentiles are of all readings of a quarter of an hour, and smoothed over three
quarters. The profile is of the sensor, as a clinic sees it; measures of a trial are of plasma.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from dosetwin.twins.diagnostics.plot_style import GREY, INK, PALE, Plot, style
from dosetwin.twins.trials.glucose_measures import HIGH, LOW, VERY_HIGH, VERY_LOW, glucose_measures

Floats = npt.NDArray[np.float64]

DAYS = 14
DAY_S = 86_400.0
BIN_S = 900.0
HIGHEST_SHOWN_MG_DL = 350.0
ACTIVE_GOAL_PCT = 70.0
CV_GOAL_PCT = 36.0
PERCENTILES = (5, 25, 50, 75, 95)
BANDS: tuple[tuple[str, float, float, str, str, str], ...] = (
    ("Very high", VERY_HIGH, np.inf, ">250", "< 5 %", "#E67E00"),
    ("High", HIGH, VERY_HIGH, "181-250", "< 25 % with very high", "#F6C445"),
    ("In range", LOW, HIGH, "70-180", "> 70 %", "#3E9B4F"),
    ("Low", VERY_LOW, LOW, "54-69", "< 4 % with very low", "#D93A32"),
    ("Very low", -np.inf, VERY_LOW, "<54", "< 1 %", "#7E1416"),
)
"""Name, from, to, range in mg/dL, goal, colour; both edges of the target belong to it."""


def shares_pct(glucose_mg_dL: Floats) -> list[float]:
    """The share of known readings in each of BANDS, %."""
    g = glucose_mg_dL[np.isfinite(glucose_mg_dL)]
    if not g.size:
        return [float("nan")] * len(BANDS)
    inside = [
        g > VERY_HIGH,
        (g > HIGH) & (g <= VERY_HIGH),
        (g >= LOW) & (g <= HIGH),
        (g >= VERY_LOW) & (g < LOW),
        g < VERY_LOW,
    ]
    return [100.0 * float(np.mean(within)) for within in inside]


def daily_percentiles(time_s: Floats, glucose_mg_dL: Floats) -> tuple[Floats, Floats]:
    """Hours of the day [96] and the PERCENTILES there [5, 96]; NaN where there is no reading."""
    bins = int(DAY_S / BIN_S)
    which = np.mod((time_s % DAY_S) // BIN_S, bins).astype(int)
    found = np.full((len(PERCENTILES), bins), np.nan)
    for k in range(bins):
        values = glucose_mg_dL[which == k]
        values = values[np.isfinite(values)]
        if values.size:
            found[:, k] = np.percentile(values, PERCENTILES)
    around = np.stack([np.roll(found, shift, axis=1) for shift in (-1, 0, 1)])
    known = np.isfinite(around)
    smooth = np.where(known, around, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    hours = np.asarray((np.arange(bins) + 0.5) * BIN_S / 3600.0, np.float64)
    return hours, np.where(np.isfinite(found), smooth, np.nan)


def profile(time_s: Floats, glucose_mg_dL: Floats, title: str) -> Plot:
    """The page of one patient: `time_s` [T] of the readings, `glucose_mg_dL` [T] with NaN in gaps."""
    last = time_s > time_s[-1] - DAYS * DAY_S
    time_s, glucose = time_s[last], glucose_mg_dL[last]
    with style():
        figure = Plot(figsize=(7.4, 8.8), layout="constrained")
        figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")
        grid = figure.add_gridspec(3, 1, height_ratios=(2.0, 2.8, 1.9))
        top = grid[0].subgridspec(1, 2, width_ratios=(1.0, 1.25))
        _statistics(figure.add_subplot(top[0]), time_s, glucose)
        _bar(figure.add_subplot(top[1]), shares_pct(glucose))
        _percentile_plot(figure.add_subplot(grid[1]), time_s, glucose)
        _days(figure, grid[2].subgridspec(2, 7, hspace=0.1, wspace=0.06), time_s, glucose)
        bands = ", ".join(
            f"{band[0].lower()} {share:.1f} %" for band, share in zip(BANDS, shares_pct(glucose), strict=True)
        )
        figure.set_label(f"Ambulatory glucose profile, {title}: {bands}")
    return figure


def _statistics(axis: Axes, time_s: Floats, glucose: Floats) -> None:
    axis.axis("off")
    found = glucose_measures(glucose[None])
    days = round((time_s[-1] - time_s[0]) / DAY_S + 1.0 / 288.0, 2)
    rows = (
        ("Days", f"{days:g}", f"{DAYS} recommended"),
        ("Sensor active", f"{100.0 * np.isfinite(glucose).mean():.0f} %", f"≥ {ACTIVE_GOAL_PCT:.0f} %"),
        ("Mean glucose", f"{found['mean_glucose_mg_dL'][0]:.0f} mg/dL", ""),
        ("GMI", f"{found['gmi_pct'][0]:.1f} %", ""),
        ("Variation (CV)", f"{found['cv_pct'][0]:.0f} %", f"≤ {CV_GOAL_PCT:.0f} %"),
    )
    axis.set_title("Statistics (goal)")
    for k, (name, value, goal) in enumerate(rows):
        height = 0.86 - 0.19 * k
        axis.text(0.0, height, name, transform=axis.transAxes)
        axis.text(0.66, height, value, transform=axis.transAxes, ha="right", fontweight="bold")
        axis.text(0.70, height, goal, transform=axis.transAxes, color=GREY, fontsize=7)


def _bar(axis: Axes, shares: list[float]) -> None:
    """Lowest range at the bottom; labels keep a distance that thin ranges do not have."""
    axis.set_title("Time in ranges (goal)")
    bottom, heights = 0.0, []
    for (*_, colour), share in zip(BANDS[::-1], shares[::-1], strict=True):
        axis.bar(0.0, share, bottom=bottom, color=colour, width=0.6, edgecolor="white", linewidth=0.6)
        heights.append(bottom + 0.5 * share)
        bottom += share
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + 15.0 if places else 2.0))
    over = places[-1] - 98.0
    if over > 0.0:
        places = [min(place, 98.0 - 15.0 * (len(places) - 1 - k)) for k, place in enumerate(places)]
    for (name, _, _, span, goal, colour), share, height, place in zip(
        BANDS[::-1], shares[::-1], heights, places, strict=True
    ):
        axis.plot([0.31, 0.5], [height, place], color=colour, linewidth=0.8, clip_on=False)
        axis.text(0.55, place, f"{share:.1f} %  {name}", va="center", fontweight="bold", fontsize=8)
        axis.text(2.0, place, f"{span} mg/dL ({goal})", va="center", color=INK, fontsize=7)
    axis.set(xlim=(-0.4, 3.9), ylim=(0.0, 100.0))
    axis.axis("off")


def _percentile_plot(axis: Axes, time_s: Floats, glucose: Floats) -> None:
    hour, bands = daily_percentiles(time_s, glucose)
    p5, p25, p50, p75, p95 = bands
    axis.fill_between(hour, p5, p95, color="#B9CBE0", linewidth=0, label="5-95 %")
    axis.fill_between(hour, p25, p75, color="#6F97C4", linewidth=0, label="25-75 %")
    axis.plot(hour, p50, color="#12355B", linewidth=1.8, label="median")
    _target(axis)
    axis.set(xlim=(0, 24), ylim=(0, HIGHEST_SHOWN_MG_DL), ylabel="sensor glucose (mg/dL)")
    axis.set_xticks(range(0, 25, 3), [f"{h:02d}:00" for h in range(0, 25, 3)])
    axis.set_yticks([54, 70, 180, 250, 350])
    axis.set_title("Profile of the day: median, quartiles, 5 and 95 %")
    axis.legend(loc="upper right", ncols=3)


def _days(figure: Plot, grid: Any, time_s: Floats, glucose: Floats) -> None:
    first = time_s[0] // DAY_S
    day = (time_s // DAY_S - first).astype(int)
    # a reading at midnight ends its day
    ends = time_s % DAY_S == 0.0
    day = np.where(ends, day - 1, day)
    day = day - day[0]
    for k in range(DAYS):
        axis = figure.add_subplot(grid[k // 7, k % 7])
        mine = day == k
        axis.set(xlim=(0, 24), ylim=(0, HIGHEST_SHOWN_MG_DL))
        axis.set_xticks([12], ["12"] if k >= 7 else [])
        axis.set_yticks([70, 180], ["70", "180"] if k % 7 == 0 else [])
        axis.tick_params(labelsize=6, length=1.5)
        axis.grid(False)
        if not mine.any():
            axis.text(12, 175, "-", ha="center", color=GREY)
            continue
        hour = (time_s[mine] - (first + k + (0 if not ends[0] else -1)) * DAY_S) / 3600.0
        axis.axhspan(LOW, HIGH, color=PALE, linewidth=0)
        axis.plot(hour, glucose[mine], color=INK, linewidth=0.8)
        for _, low, high, _, _, colour in (BANDS[0], BANDS[3], BANDS[4]):
            outside = (glucose[mine] > low) & (glucose[mine] < high)
            axis.plot(hour, np.where(outside, glucose[mine], np.nan), color=colour, linewidth=1.6)
        axis.text(0.6, 318, f"{k + 1}", fontsize=6, color=GREY)


def _target(axis: Axes) -> None:
    for level, colour in ((LOW, "#3E9B4F"), (HIGH, "#3E9B4F"), (VERY_LOW, "#7E1416"), (VERY_HIGH, "#E67E00")):
        axis.axhline(level, color=colour, linewidth=1.0)
    axis.axhspan(LOW, HIGH, color="#3E9B4F", alpha=0.07, linewidth=0)
