"""An alert that nobody acknowledges is passed on, step by step."""

from __future__ import annotations

from dosetwin.platform.alert_state import AlertState
from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import AlertEscalated
from dosetwin.platform.settings import ControlSettings
from dosetwin.stream_jobs.control.state import ControlState, Message


def escalations(state: ControlState, known_until_s: float, control: ControlSettings) -> list[Message]:
    """The next step of every alert that is due for one.

    Steps count from when the alert was raised, or from when its last acknowledgement ran out. Alerts of low
    priority make people aware and are never passed on (IEC 60601-1-8). Several steps that are due at once
    (after a long stop) are written as the highest of them: nobody is helped by three calls in one second.
    """
    messages: list[Message] = []
    now = instant(known_until_s)
    for alert in state.open_alerts():
        if not alert.wants_a_person(now) or alert.priority(now) == "low":
            continue
        since_s = _waiting_since_s(alert)
        if state.seen_s.get(alert.alert, since_s - 1.0) >= since_s:
            continue  # a person acted on it; the event that says so is about to be written
        level = max((step.level for step in alert.escalations if step.at.timestamp() > since_s), default=0)
        due = [
            (step, since_s + after_s)
            for step, after_s in enumerate(control.escalate_s, start=1)
            if step > level and since_s + after_s <= known_until_s
        ]
        if due:
            step, at_s = due[-1]
            messages.append(
                AlertEscalated(
                    patient=alert.patient,
                    alert=alert.alert,
                    at=instant(at_s),
                    level=step,
                    to=control.escalate_to[min(step, len(control.escalate_to)) - 1],
                )
            )
    return messages


def _waiting_since_s(alert: AlertState) -> float:
    """When the oldest raise that is not over began (of a latched alert: the oldest), or was last silenced."""
    running = [raised for raised in alert.raises if not any(end.at >= raised.at for end in alert.clears)]
    since = min(raised.at for raised in running or alert.raises)
    seen = alert.acknowledged
    return (seen.until if seen is not None and seen.at >= since else since).timestamp()
