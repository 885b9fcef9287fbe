"""The consensus error grid for type-1 diabetes: what a sensor's error would do, by zone A to E.

Source: Parkes et al., Diabetes Care 2000;23:1143, doi:10.2337/diacare.23.8.1143; its boundaries as numbers
from Pfützner et al., J Diabetes Sci Technol 2013;7:1275, doi:10.1177/193229681300700517. A no effect on
treatment, B little or none, C likely to change the outcome, D a medical risk, E dangerous.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from dosetwin.twins.diagnostics.plot_style import GREY, INK, Plot, panels, points, style

Floats = npt.NDArray[np.float64]
Line = tuple[tuple[float, float], ...]

ZONES = "ABCDE"
TOP_MG_DL = 550.0
UPPER: dict[str, Line] = {
    "B": ((0, 50), (30, 50), (140, 170), (280, 380), (430, 550)),
    "C": ((0, 60), (30, 60), (50, 80), (70, 110), (260, 550)),
    "D": ((0, 100), (25, 100), (50, 125), (80, 215), (125, 550)),
    "E": ((0, 150), (35, 155), (50, 550)),
}
"""Where a zone begins above the diagonal, as corners (reference, sensor) in mg/dL."""
LOWER: dict[str, Line] = {
    "B": ((50, 0), (50, 30), (170, 145), (385, 300), (550, 450)),
    "C": ((120, 0), (120, 30), (260, 130), (550, 250)),
    "D": ((250, 0), (250, 40), (550, 150)),
}
LABELS = (("A", 480, 480), ("B", 300, 440), ("B", 500, 340), ("C", 170, 440), ("C", 500, 180))
MORE_LABELS = (("D", 82, 400), ("D", 450, 60), ("E", 15, 400))
MOST_POINTS = 20_000


def zones(reference_mg_dL: Floats, sensor_mg_dL: Floats) -> npt.NDArray[np.intp]:
    """The zone of each pair, 0 for A to 4 for E. A point on a boundary is in the milder zone.

    Beyond the last corner a boundary goes on as a straight line.
    """
    x, y = np.asarray(reference_mg_dL, float), np.asarray(sensor_mg_dL, float)
    found = np.zeros(x.shape, np.intp)
    for zone, corners in UPPER.items():
        found = np.where(y > _height(corners, x), ZONES.index(zone), found)
    for zone, corners in LOWER.items():
        below = (x > corners[0][0]) & (y < _height(corners[1:], x))
        found = np.where(below, ZONES.index(zone), found)
    return found


def _height(corners: Line, x: Floats) -> Floats:
    """The boundary's sensor value at `x`, straight between its corners and beyond the last."""
    across, up = (np.array(values, float) for values in zip(*corners, strict=True))
    slope = (up[-1] - up[-2]) / (across[-1] - across[-2])
    beyond = up[-1] + slope * (x - across[-1])
    return np.asarray(np.where(x > across[-1], beyond, np.interp(x, across, up)), np.float64)


def error_grid(reference_mg_dL: Floats, sensor_mg_dL: Floats) -> Plot:
    """Pairs of plasma and sensor glucose over the grid, and the share in each zone; NaN is left out."""
    x, y = np.ravel(reference_mg_dL), np.ravel(sensor_mg_dL)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    found = zones(x, y)
    shares = [100.0 * float(np.mean(found == zone)) if x.size else float("nan") for zone in range(5)]
    mard = 100.0 * float(np.mean(np.abs(y - x) / np.maximum(x, 1.0))) if x.size else float("nan")
    with style():
        figure, (axis,) = panels(1, 1, height=4.6, width=5.4)
        step = -(-x.size // MOST_POINTS) if x.size else 1
        points(axis, x[::step], y[::step], s=3, alpha=0.25)
        _draw_grid(axis)
        axis.set_title(", ".join(f"{ZONES[i]} {share:.1f} %" for i, share in enumerate(shares)))
        figure.set_label(
            f"Consensus error grid of {x.size:,} pairs, sensor against plasma: "
            + ", ".join(f"zone {ZONES[i]} {share:.2f} %" for i, share in enumerate(shares))
            + f"; mean absolute relative difference {mard:.1f} %"
        )
    return figure


def _draw_grid(axis: Axes) -> None:
    for corners in (*UPPER.values(), *LOWER.values()):
        axis.plot(*zip(*corners, strict=True), color=GREY, linewidth=0.9)
    axis.plot([0, TOP_MG_DL], [0, TOP_MG_DL], ":", color=GREY, linewidth=0.9)
    for zone, across, up in (*LABELS, *MORE_LABELS):
        axis.text(across, up, zone, fontsize=11, fontweight="bold", color=INK, ha="center", va="center")
    axis.set(xlim=(0, TOP_MG_DL), ylim=(0, TOP_MG_DL), xlabel="plasma glucose (mg/dL)")
    axis.set_ylabel("sensor glucose (mg/dL)")
    axis.set_aspect("equal")
    axis.grid(False)
