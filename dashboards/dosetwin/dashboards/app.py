"""The script that Streamlit runs for every viewer: five pages over one background reader.

Started by `dosetwin dashboard`, which sets Streamlit up; it holds no state of its own.
"""

from __future__ import annotations

import streamlit as st

from dosetwin.dashboards.screens import alerts, commands, patient, system, ward

STYLE = """
<style>
[data-testid="stStatusWidget"], [data-testid="stAppDeployButton"],
[data-testid="stMainMenu"] { display: none; }
.stMainBlockContainer, [data-testid="stMainBlockContainer"] { padding: 4.2rem 1.6rem 1rem; max-width: 100%; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
</style>
"""

PAGES = {
    "ward": st.Page(ward.show, title="Ward", default=True),
    "patient": st.Page(patient.show, title="Patient", url_path="patient"),
    "commands": st.Page(commands.show, title="Commands", url_path="commands"),
    "alerts": st.Page(alerts.show, title="Alerts", url_path="alerts"),
    "system": st.Page(system.show, title="System", url_path="system"),
}


def main() -> None:
    """Run the page that the address names."""
    st.set_page_config(page_title="dosetwin", layout="wide", initial_sidebar_state="collapsed")
    st.html(STYLE)
    st.navigation(list(PAGES.values()), position="top").run()


if __name__ == "__main__":
    main()
