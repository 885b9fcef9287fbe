"""The patient page; the patient is in the address, by pseudonym."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dosetwin.dashboards.runtime import Runtime
from dosetwin.dashboards.screens.live import live
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.view_models.patient import patient


def show() -> None:
    """One patient on one time axis."""
    wanted = st.query_params.get("patient", "")

    def build(shared: Runtime, snapshot: Snapshot) -> dict[str, Any]:
        chosen = wanted or (snapshot.ward.ids[snapshot.order[0]] if snapshot.order else "")
        return {
            "asked": wanted,
            "choices": [
                [each, f"{each[:8]} · {_ward(snapshot, each)}"] for each in sorted(snapshot.ward.ids)
            ],
            "patient": patient(snapshot, chosen) if chosen else None,
        }

    live("patient", build, wanted)


def _ward(snapshot: Snapshot, patient_id: str) -> str:
    enrolment = snapshot.patients[patient_id].enrolment
    return enrolment.ward if enrolment is not None and enrolment.ward else "no ward"
