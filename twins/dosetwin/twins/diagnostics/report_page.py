"""One self-contained HTML page: text, tables, figures. Light, readable on a screen and on paper."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from dosetwin.twins.diagnostics.plot_style import Plot

_CSS = """
:root { --ink: #1f2933; --soft: #52606d; --line: #d9dee3; --pale: #f5f7fa; --accent: #0072b2;
  --warn: #a33c00; }
* { box-sizing: border-box; }
html { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 4rem; background: #fff; color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .7rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul { margin: .5rem 0; max-width: 48rem; }
li { margin: .15rem 0; }
.lead { color: var(--soft); margin-bottom: 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0; }
.tile { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem; background: var(--pale); }
.tile b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: .82rem; }
.bad b { color: var(--warn); }
nav { font-size: .9rem; } nav a { margin-right: 1rem; } a { color: var(--accent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .28rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
th.t, td.t { text-align: left; } td.w { white-space: normal; min-width: 10rem; }
tr.flag td { background: #fff4ec; }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .86rem; max-width: 48rem; margin-top: .3rem; }
.warn { border-left: 4px solid var(--warn); background: #fff4ec; padding: .6rem .9rem; margin: .8rem 0; }
pre { background: var(--pale); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  overflow-x: auto; font-size: .8rem; line-height: 1.45; }
footer { margin-top: 3rem; color: var(--soft); font-size: .82rem; border-top: 1px solid var(--line); }
@page { margin: 15mm; }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  h2, h3 { break-after: avoid; } figure, .tile, tr { break-inside: avoid; }
  pre { white-space: pre-wrap; } .wide { overflow: visible; } }
"""
_ERRORS = ("SE ", "standard error", "RSE")
"""How columns of standard errors begin."""


def number(value: Any, digits: int = 4) -> str:
    """A figure as a table writes it: significant digits, no exponent for ordinary sizes; NaN is a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 7 or magnitude < -5:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


class Page:
    """Collects sections; `html()` is the whole document."""

    def __init__(self, title: str, lead: str, css: str = "") -> None:
        self._title = title
        self._css = _CSS + css
        self._parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>']
        self._sections: list[str] = []
        self._contents = len(self._parts)

    def tiles(self, tiles: Sequence[tuple[str, str, bool]]) -> None:
        """Key figures: (figure, words, whether it is good)."""
        cells = [
            f'<div class="tile{"" if good else " bad"}"><b>{escape(value)}</b>'
            f"<span>{escape(words)}</span></div>"
            for value, words, good in tiles
        ]
        self._parts.append(f'<div class="tiles">{"".join(cells)}</div>')
        self._contents = len(self._parts)

    def section(self, title: str) -> None:
        """A heading that the contents list."""
        self._sections.append(title)
        self._parts.append(f'<h2 id="s{len(self._sections)}">{escape(title)}</h2>')

    def heading(self, title: str) -> None:
        """A smaller heading."""
        self._parts.append(f"<h3>{escape(title)}</h3>")

    def text(self, words: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(words)}</p>")

    def warning(self, words: str) -> None:
        """A paragraph that must be seen."""
        self._parts.append(f'<p class="warn">{escape(words)}</p>')

    def items(self, items: Sequence[str]) -> None:
        """A list."""
        self._parts.append(f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>")

    def markup(self, html: str) -> None:
        """HTML as it is; its writer has escaped what people wrote."""
        self._parts.append(html)

    def code(self, text: str) -> None:
        """Source code."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def table(self, table: pd.DataFrame, *, flagged: Sequence[bool] = (), digits: int = 4) -> None:
        """A table without its index; text to the left, figures to the right; flagged rows are coloured.

        Standard errors have a digit less than `digits`.
        """
        textual = [not pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
        head = "".join(
            f"<th{' class=t' if left else ''}>{escape(str(name))}</th>"
            for name, left in zip(table.columns, textual, strict=True)
        )
        exact = [digits - 1 if str(name).startswith(_ERRORS) else digits for name in table.columns]
        rows = []
        for k, values in enumerate(table.itertuples(index=False)):
            cells = "".join(_cell(*entry) for entry in zip(values, textual, exact, strict=True))
            rows.append(f"<tr{' class=flag' if k < len(flagged) and flagged[k] else ''}>{cells}</tr>")
        self._parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )

    def figure(self, plot: Plot, caption: str) -> None:
        """A plot as SVG inside the page, with its caption (also its alternative text)."""
        svg = base64.b64encode(plot.svg().encode()).decode()
        self._parts.append(
            f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/svg+xml;base64,{svg}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def html(self, footer: str) -> str:
        """The document."""
        links = "".join(f'<a href="#s{k}">{escape(t)}</a> ' for k, t in enumerate(self._sections, 1))
        parts = [*self._parts[: self._contents], f"<nav>{links}</nav>", *self._parts[self._contents :]]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self._title)}</title><style>{self._css}</style></head>\n<body>\n<main>\n"
            + "\n".join(parts)
            + f"\n</main>\n<footer><p>{escape(footer)}</p></footer>\n</body></html>\n"
        )


def _cell(value: Any, left: bool, digits: int) -> str:
    text = number(value.item() if hasattr(value, "item") else value, digits)
    kind = ("t w" if len(text) > 22 else "t") if left else ""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
