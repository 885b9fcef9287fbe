"""How every plot looks: colours that colour-blind people tell apart, sizes, grids of panels.

Colours: Okabe & Ito 2008 (jfly.uni-koeln.de/color). Figures are objects of their own: nothing here touches
pyplot or changes matplotlib's settings for others.
"""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]
INK, GREY, PALE = "#1f2933", "#7b8794", "#d9dee3"
POPULATION, INDIVIDUAL, TREND, BAND, OTHER = "#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#009E73"
WIDTH = 7.4
"""Inches, of a full-width figure."""
TOO_MANY = 3000
"""More points than this are drawn as an image inside the figure."""
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[POPULATION, INDIVIDUAL, OTHER, TREND, "#E69F00", BAND]),
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "dosetwin",
    "savefig.dpi": 160,
}


def style() -> AbstractContextManager[None]:
    """A context with our settings; others' are back afterwards."""
    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)  # type: ignore[arg-type] # the stubs want literal keys
    return context


class Plot(Figure):
    """A matplotlib figure that a notebook shows by itself; save it with `savefig`."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's, in our style; the same figure gives the same bytes of SVG."""
        kind = options.get("format") or str(getattr(fname, "name", fname)).rpartition(".")[2].lower()
        if kind == "svg":
            options.setdefault("metadata", {"Date": None})
        with style():
            super().savefig(fname, **options)

    def svg(self) -> str:
        """The figure as an SVG element."""
        stream = io.StringIO()
        self.savefig(stream, format="svg")
        text = stream.getvalue()
        return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def panels(
    rows: int, columns: int, *, height: float = 2.6, width: float = WIDTH, **options: Any
) -> tuple[Plot, list[Axes]]:
    """An empty figure of rows x columns panels, each `height` inches high, and its axes row by row.

    Call it, and draw, within `style()`.
    """
    figure = Plot(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [axis for row in axes for axis in row]


def points(axis: Axes, x: npt.ArrayLike, y: npt.ArrayLike, **options: Any) -> None:
    """Observations as small circles; very many become an image."""
    given: dict[str, Any] = {"s": 11, "color": INK, "alpha": 0.55, "linewidths": 0} | options
    axis.scatter(x, y, rasterized=np.size(x) > TOO_MANY, **given)


def trend(axis: Axes, x: Values, y: Values) -> None:
    """Running median: that of x and y in up to 10 groups of equal size, of at least 8 points each."""
    used = np.isfinite(x) & np.isfinite(y)
    groups = min(10, int(used.sum()) // 8)
    if groups < 3:
        return
    order = np.argsort(x[used], kind="stable")
    parts = np.array_split(order, groups)
    middle = [(np.median(x[used][part]), np.median(y[used][part])) for part in parts]
    across, along = zip(*middle, strict=True)
    axis.plot(across, along, color=TREND, linewidth=1.8, label="running median", zorder=4)


def with_unit(name: str, unit: str) -> str:
    """`name (unit)`; the unit 1 is not written."""
    return f"{name} ({unit})" if unit and unit != "1" else name


def wide_range(values: npt.ArrayLike) -> bool:
    """Whether positive values span more than two decades, so that a logarithmic axis reads better."""
    given = np.asarray(values, np.float64)
    given = given[np.isfinite(given)]
    return bool(len(given) and given.min() > 0 and given.max() > 100 * given.min())
