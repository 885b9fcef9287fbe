"""Figures of a trial's report: those the trial draws, and every patient's measures under each policy."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from dosetwin.twins.diagnostics.plot_style import GREY, INK, Plot, panels, style
from dosetwin.twins.trials.result import TrialResult
from dosetwin.twins.trials.trial import Outcome

LARGEST_SVG = 1_200_000
"""Characters; a figure with more is put into the page as an image of points."""
MOST_MEASURES = 9
MOST_LINES = 60
"""Patients up to which a line joins the same patient's values."""
CSS = "figure h3 { margin-top: 0; } pre { white-space: pre-wrap; }\n"


def figure_markup(title: str, figure: Any) -> str:
    """A figure with its title as heading; alternative text and caption are its label, where it has one."""
    words = figure.get_label() or title
    caption = f"<figcaption>{escape(words)}</figcaption>" if words != title else ""
    return (
        f'<figure><h3>{escape(title)}</h3><img alt="{escape(words, quote=True)}" src="{_data(figure)}">'
        f"{caption}</figure>"
    )


def every_patient(result: TrialResult, outcomes: Mapping[tuple[str, str], Outcome], challenge: str) -> Plot:
    """A panel a measure: a patient is a dot under each policy, joined by a line; mean and interval beside."""
    measures = result.measures[:MOST_MEASURES]
    policies = result.setting.policies
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    places = np.arange(len(policies))
    with style():
        figure, axes = panels(rows, columns, height=2.5 + 0.02 * max(len(name) for name in policies))
        for axis in axes[len(measures) :]:
            axis.set_visible(False)
        for axis, measure in zip(axes, measures, strict=False):
            values = np.array([outcomes[challenge, policy].measures[measure.name] for policy in policies])
            shifts = 0.16 * _spread(values.shape[1])
            if values.shape[1] <= MOST_LINES:
                axis.plot(places[:, None] + shifts, values, color=GREY, linewidth=0.4, alpha=0.5, zorder=1)
            axis.plot(places[:, None] + shifts, values, ".", color=INK, markersize=3, alpha=0.5, zorder=2)
            for place, policy in enumerate(policies):
                found = result.summaries[challenge, policy][measure.name]
                at = place + 0.3
                axis.plot([at, at], [found.low, found.high], color=f"C{place}", linewidth=2, zorder=3)
                axis.plot([at], [found.mean], "D", color=f"C{place}", markersize=4.5, zorder=4)
            axis.set_xticks(places, policies, rotation=30, ha="right", rotation_mode="anchor")
            axis.set_xlim(-0.4, len(policies) - 0.4)
            axis.set_title(measure.name, fontsize=8)
            axis.set_ylabel(measure.unit if measure.unit != "1" else "")
            axis.grid(visible=False, axis="x")
    figure.set_label(
        "Each dot is a patient, lines join the same patient under each policy; the diamond is the mean with "
        "its 95 % confidence interval. The numbers are in measures.csv."
    )
    return figure


def _spread(n: int) -> Any:
    """As many positions in -1..1 that do not follow the order of the patients."""
    return np.zeros(1) if n == 1 else 2 * ((np.arange(n) * 0.618034) % 1.0) - 1


def _data(figure: Any) -> str:
    if isinstance(figure, Plot):
        svg = figure.svg()
        if len(svg) <= LARGEST_SVG:
            return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
