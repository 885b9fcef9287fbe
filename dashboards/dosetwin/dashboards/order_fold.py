"""Life lines of orders and alerts, folded from their events in any order, bounded in number."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from datetime import datetime

from dosetwin.dashboards.snapshot import AlertLine, Lifeline
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Acknowledgement,
    Action,
    Alert,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    ApproveProposal,
    ClearAlert,
    Command,
    Proposal,
    RefuseProposal,
)


class LifelineFold:
    """Life lines by the id of the proposal, or of the command where there was none."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lines: OrderedDict[str, Lifeline] = OrderedDict()
        self._line_of_command: dict[str, str] = {}

    def snapshot(self) -> dict[str, Lifeline]:
        """All life lines kept, oldest first."""
        return dict(self._lines)

    def propose(self, proposal: Proposal) -> Lifeline:
        """A proposal waits for a person, unless what came of it was read before it."""
        line = dataclasses.replace(self._line(proposal.id, proposal.patient), proposal=proposal)
        self._put(line)
        return line

    def issue(self, command: Command) -> None:
        """A command left, by itself or for a proposal that was approved."""
        line_id = command.proposal_id or command.id
        early = self._lines.pop(command.id, None) if line_id != command.id else None
        self._line_of_command[command.id] = line_id
        line = self._line(line_id, command.patient)
        acknowledgements = line.acknowledgements + (early.acknowledgements if early is not None else ())
        self._put(dataclasses.replace(line, command=command, acknowledgements=acknowledgements))

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """A device, or the watchdog, told what became of a command; a repeat changes nothing."""
        line_id = self._line_of_command.get(acknowledgement.command_id, acknowledgement.command_id)
        line = self._line(line_id, acknowledgement.patient)
        known = {(each.status, each.device, each.application_id) for each in line.acknowledgements}
        if (acknowledgement.status, acknowledgement.device, acknowledgement.application_id) not in known:
            several = (*line.acknowledgements, acknowledgement)
            self._put(dataclasses.replace(line, acknowledgements=several))

    def act(self, action: Action) -> None:
        """A person approved or refused a proposal; the first act stands."""
        if isinstance(action.act, ApproveProposal | RefuseProposal):
            line = self._line(action.act.proposal_id, action.patient)
            if line.action is None or action.at < line.action.at:
                self._put(dataclasses.replace(line, action=action))

    def _line(self, line_id: str, patient: str) -> Lifeline:
        line = self._lines.get(line_id)
        return line if line is not None else Lifeline(line_id, patient)

    def _put(self, line: Lifeline) -> None:
        self._lines[line.id] = line
        while len(self._lines) > self._keep:
            _, oldest = self._lines.popitem(last=False)
            if oldest.command is not None:
                self._line_of_command.pop(oldest.command.id, None)


class AlertFold:
    """Alerts by their id; the newest event of each type stands."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lines: OrderedDict[str, AlertLine] = OrderedDict()
        self._of_patient: dict[str, set[str]] = {}

    def snapshot(self) -> dict[str, AlertLine]:
        """All alerts kept, oldest first."""
        return dict(self._lines)

    def fold(self, event: Alert) -> None:
        """Take an event of an alert's life."""
        line = self._lines.get(event.alert) or AlertLine(event.alert, event.patient)
        match event:
            case AlertRaised() if line.raised is None or event.at >= line.raised.at:
                line = dataclasses.replace(line, raised=event)
            case AlertEscalated() if line.escalated is None or event.level >= line.escalated.level:
                line = dataclasses.replace(line, escalated=event)
            case AlertAcknowledged() if line.acknowledged is None or event.until >= line.acknowledged.until:
                line = dataclasses.replace(line, acknowledged=event)
            case AlertCleared() if line.cleared is None or event.at >= line.cleared.at:
                line = dataclasses.replace(line, cleared=event)
            case _:
                return
        self._put(line)

    def act(self, action: Action) -> None:
        """A person acknowledged or cleared an alert; the control app answers with an event."""
        if isinstance(action.act, AcknowledgeAlert | ClearAlert):
            line = self._lines.get(action.act.alert) or AlertLine(action.act.alert, action.patient)
            self._put(dataclasses.replace(line, action=action))

    def open_counts(self, patient: str, now: datetime) -> tuple[int, int, int]:
        """Open alerts of a patient: high, medium, low."""
        counts = {"high": 0, "medium": 0, "low": 0}
        for alert in self._of_patient.get(patient, ()):
            line = self._lines[alert]
            if line.raised is not None and line.open_at(now):
                counts[line.raised.priority] += 1
        return counts["high"], counts["medium"], counts["low"]

    def _put(self, line: AlertLine) -> None:
        self._lines[line.alert] = line
        self._of_patient.setdefault(line.patient, set()).add(line.alert)
        while len(self._lines) > self._keep:
            over = next((each for each in self._lines.values() if each.cleared is not None), None)
            oldest = self._lines.pop(over.alert if over is not None else next(iter(self._lines)))
            self._of_patient[oldest.patient].discard(oldest.alert)
