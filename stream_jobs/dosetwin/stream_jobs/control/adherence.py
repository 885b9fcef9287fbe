"""Doses that were planned and not taken."""

from __future__ import annotations

from datetime import datetime

from dosetwin.platform.alert_state import AlertState
from dosetwin.platform.contracts import AlertCleared, AlertRaised, Dose, MissedDose, RateChange
from dosetwin.platform.identifiers import identifier
from dosetwin.stream_jobs.control.state import ControlState, Message

KIND = "missed_dose"


class Adherence:
    """Planned and missed doses by patient, device and drug.

    The counts are in the evidence of the newest `missed_dose` alert, and a start takes them from there. Doses
    taken between that alert and the start are then not counted: for a while the fraction is a lower bound.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], tuple[int, int]] = {}

    def take(self, dose: Dose, source: str, state: ControlState) -> list[Message]:
        """Count a message's administrations.

        Each missed dose raises an alert, unless it has one; a dose taken later by the same device ends it.
        """
        messages: list[Message] = []
        for administration in dose.administrations:
            if isinstance(administration, RateChange):
                continue
            key = (dose.patient, dose.device, administration.drug)
            before = _alerts_of(state, *key)
            missed, planned = self._counts.get(key) or _counted(before)
            if isinstance(administration, MissedDose):
                alert = _alert(*key, administration.at)
                if state.alert_of(alert).raised is not None:
                    continue
                missed += 1
                messages.append(
                    AlertRaised(
                        patient=dose.patient,
                        alert=alert,
                        at=administration.at,
                        kind=KIND,
                        priority="medium",
                        message=f"{administration.amount:g} {administration.unit} of {administration.drug} "
                        "was not taken" + (f": {administration.reason}" if administration.reason else ""),
                        evidence={
                            "adherence": 1.0 - missed / (planned + 1),
                            "missed": float(missed),
                            "planned": float(planned + 1),
                        },
                        source=source,
                        origin="control",
                    )
                )
            else:
                messages.extend(_ended(before, administration.at, administration.drug))
            self._counts[key] = (missed, planned + 1)
        return messages


def _ended(before: list[AlertState], at: datetime, drug: str) -> list[AlertCleared]:
    return [
        AlertCleared(
            patient=alert.patient, alert=alert.alert, at=at, reason=f"a later dose of {drug} was taken"
        )
        for alert in before
        if alert.cleared is None and alert.raised is not None and alert.raised.at < at
    ]


def _alerts_of(state: ControlState, patient: str, device: str, drug: str) -> list[AlertState]:
    """The running alerts about this device and drug: an alert's id follows from them and its time."""
    return [
        alert
        for alert in state.running(patient, KIND)
        if alert.raised is not None and alert.alert == _alert(patient, device, drug, alert.raised.at)
    ]


def _counted(alerts: list[AlertState]) -> tuple[int, int]:
    newest = max(
        (alert.raised for alert in alerts if alert.raised), key=lambda raised: raised.at, default=None
    )
    if newest is None:
        return 0, 0
    return int(newest.evidence["missed"]), int(newest.evidence["planned"])


def _alert(patient: str, device: str, drug: str, at: datetime) -> str:
    return identifier(patient, KIND, device, drug, f"{at.timestamp():.3f}")
