"""The patient page; the patient is in the address, by pseudonym."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dosetwin.dashboards.runtime import Runtime
from dosetwin.dashboards.screens.live import live
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.view_models.patient import patient

CHOICES = 100
"""Most patients that the list offers, by urgency; every patient opens from the ward."""


def show() -> None:
    """One patient on one time axis.

    Without a patient in the address the view goes once to the most urgent one, so that what is shown never
    turns into another patient under the reader's eyes.
    """
    wanted = st.query_params.get("patient", "")

    def build(shared: Runtime, snapshot: Snapshot) -> dict[str, Any]:
        urgent = [snapshot.ward.ids[row] for row in snapshot.order[:CHOICES]]
        known = wanted in snapshot.patients
        listed = sorted({*urgent, wanted} if known else set(urgent))
        return {
            "asked": wanted,
            "suggested": urgent[0] if urgent else "",
            "choices": [[each, f"{each[:8]} · {_ward(snapshot, each)}"] for each in listed],
            "patient": patient(snapshot, wanted) if known else None,
        }

    live("patient", build, wanted)


def _ward(snapshot: Snapshot, patient_id: str) -> str:
    enrolment = snapshot.patients[patient_id].enrolment
    return enrolment.ward if enrolment is not None and enrolment.ward else "no ward"
