"""Registers a page's view: the shell (header, hold, dialog) and the page's own markup, style and script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
PAGES = ("ward", "patient", "commands", "alerts", "system")
TITLES = {
    "ward": "Ward",
    "patient": "Patient",
    "commands": "Commands",
    "alerts": "Alerts",
    "system": "System",
}


@cache
def sources(page: str) -> tuple[str, str, str]:
    """Markup, style and script of a page's view; the script is one module with one default export."""
    shell = (HERE / "shell.html").read_text("utf-8")
    markup = shell.replace("{{page}}", page).replace("{{title}}", TITLES[page])
    markup = markup.replace("{{body}}", (HERE / f"{page}.html").read_text("utf-8"))
    style = (HERE / "shell.css").read_text("utf-8") + (HERE / "pages.css").read_text("utf-8")
    script = "\n".join(
        (HERE / name).read_text("utf-8") for name in ("elements.js", "paint.js", "shell.js", f"{page}.js")
    )
    return markup, style, script


def view(page: str) -> ComponentRenderer:
    """The mounting command of a page's view. Registering the same sources again changes nothing."""
    markup, style, script = sources(page)
    return st.components.v2.component(f"dosetwin_{page}", html=markup, css=style, js=script)
