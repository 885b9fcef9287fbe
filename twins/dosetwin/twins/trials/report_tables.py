"""Tables of a trial's report: measures by policies, and each policy against the first, patient by patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from dosetwin.twins.diagnostics.report_page import number
from dosetwin.twins.trials.result import NONE, TrialResult
from dosetwin.twins.trials.statistics import Difference, Summary
from dosetwin.twins.trials.trial import Measure

DIGITS = 3
CSS = """
body { max-width: 74rem; }
table.trial { font-size: .88rem; min-width: 34rem; }
table.trial caption { text-align: left; color: var(--soft);
  font-size: .86rem; padding-bottom: .3rem; }
table.trial th, table.trial td { vertical-align: top; padding: .4rem .6rem; }
table.trial th[scope=row] { text-align: left; color: var(--ink); border-bottom: 1px solid var(--line);
  font-weight: 600; white-space: normal; min-width: 10rem; max-width: 16rem; }
table.trial small { display: block; font-weight: 400; color: var(--soft); font-size: .8rem; }
table.trial td b { font-size: .98rem; }
table.trial .better { color: #00603f; } table.trial .worse { color: var(--warn); }
table.trial .open { color: var(--soft); }
table.trial td.first, table.trial th.first { background: #f0f6fb; }
"""


def results_table(result: TrialResult, challenge: str) -> str:
    """Rows: measures; columns: policies; a cell: mean, its 95 % interval, the worst patient and who."""
    rows = []
    for measure in result.measures:
        cells = [
            _result(result, result.summaries[challenge, policy][measure.name])
            for policy in result.setting.policies
        ]
        rows.append((_measure(measure), cells))
    return _table("Mean, 95 % confidence interval of the mean, and the worst patient.", result, rows)


def challenges_table(result: TrialResult, measure: Measure) -> str:
    """One measure; rows: challenges; columns: policies."""
    rows = [
        (
            escape(challenge or NONE),
            [
                _result(result, result.summaries[challenge, policy][measure.name])
                for policy in result.setting.policies
            ],
        )
        for challenge in result.setting.challenges
    ]
    direction = f"{measure.title} ({measure.unit}); {measure.better} is better."
    return _table(direction, result, rows, corner="challenge")


def differences_table(result: TrialResult, challenge: str) -> str:
    """Rows: measures; columns: policies but the first; a cell: mean difference, interval, what that says."""
    first, *others = result.setting.policies
    rows = [
        (
            _measure(measure),
            [_difference(measure, result.differences[challenge, policy][measure.name]) for policy in others],
        )
        for measure in result.measures
    ]
    caption = (
        f"Policy less {first}, patient by patient: mean and 95 % confidence interval. Better or worse is "
        "said where the interval leaves out 0."
    )
    return _table(caption, result, rows, policies=others, shaded=False)


def verdict(measure: Measure, found: Difference) -> str:
    """Better, worse, or nothing where the interval holds 0 or there is none."""
    if not math.isfinite(found.low) or found.low <= 0 <= found.high:
        return ""
    return "better" if (found.mean > 0) == (measure.better == "higher") else "worse"


def _measure(measure: Measure) -> str:
    unit = f" ({measure.unit})" if measure.unit and measure.unit != "1" else ""
    return (
        f"{escape(measure.title)}{escape(unit)}"
        f"<small>{escape(measure.name)}; {measure.better} is better</small>"
    )


def _result(result: TrialResult, found: Summary) -> str:
    if not found.patients:
        return "–<small>of no patient</small>"
    lines = [f"<b>{number(found.mean, DIGITS)}</b>"]
    if math.isfinite(found.low):
        lines.append(f"<small>{number(found.low, DIGITS)} to {number(found.high, DIGITS)}</small>")
    who = "" if found.low == found.high == found.worst else f" (patient {result.patient(found)})"
    lines.append(f"<small>worst {number(found.worst, DIGITS)}{who}</small>")
    if found.patients < result.setting.patients:
        lines.append(f"<small>of {found.patients} patients</small>")
    return "".join(lines)


def _difference(measure: Measure, found: Difference) -> str:
    if not found.patients:
        return "–"
    sign = "+" if found.mean > 0 else ""
    lines = [f"<b>{sign}{number(found.mean, DIGITS)}</b>"]
    if math.isfinite(found.low):
        lines.append(f"<small>{number(found.low, DIGITS)} to {number(found.high, DIGITS)}</small>")
    said = verdict(measure, found)
    kind, words = (
        (said, f"{'▲' if said == 'better' else '▼'} {said}") if said else ("open", "○ no difference shown")
    )
    lines.append(f'<small class="{kind}">{words}</small>')
    return "".join(lines)


def _table(
    caption: str,
    result: TrialResult,
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    policies: Sequence[str] | None = None,
    corner: str = "measure",
    shaded: bool = True,
) -> str:
    """HTML; row headings and cells are markup already. The first policy's column is shaded."""
    names = result.setting.policies if policies is None else policies
    kinds = [' class="first"' if shaded and not k else "" for k in range(len(names))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{heading}</th>'
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, kinds, strict=True))
        + "</tr>"
        for heading, cells in rows
    )
    label = escape(caption, quote=True)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table class="trial">'
        f"<caption>{escape(caption)}</caption>"
        f'<thead><tr><th scope="col" class="t">{corner}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
