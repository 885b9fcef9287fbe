"""Lives of orders and of alerts, folded by the platform's own folds and bounded in number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dosetwin.dashboards.snapshot import AlertLine
from dosetwin.platform.alert_state import AlertBook
from dosetwin.platform.command_state import CommandBook, CommandLife
from dosetwin.platform.contracts import AcknowledgeAlert, Action, Alert, ClearAlert, Priority

KEPT = timedelta(hours=24)
LEAST_KEPT = timedelta(minutes=10)


class LivesFold:
    """Orders, from proposed to applied; finished ones are forgotten after a day, of many sooner."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.book = CommandBook()

    def snapshot(self, now: datetime) -> dict[str, CommandLife]:
        """All orders kept, by the id of the proposal or else of the command."""
        _forget(lambda: len(self.book), lambda before: self.book.forget_final(before), now, self._keep)
        found = {}
        for life in self.book:
            first = life.proposal or life.command
            if first is not None:
                found[first.id] = life
        return found


class AlertsFold:
    """Alerts; closed ones are forgotten after a day, sooner where they are many."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._book = AlertBook()
        self._actions: dict[str, Action] = {}
        self._open: dict[str, dict[str, Priority]] = {}

    def fold(self, event: Alert) -> None:
        """Take an event of an alert's life. Whether it is open changes with events alone, not with time."""
        state = self._book.add(event)
        mine = self._open.setdefault(state.patient, {})
        if state.is_open(event.at):
            mine[state.alert] = state.priority(event.at)
        else:
            mine.pop(state.alert, None)
        action = self._actions.get(state.alert)
        if action is not None and (
            any(seen.action_id == action.id for seen in state.acknowledgements)
            or any(each.at >= action.at and each.by == action.person for each in state.clears)
        ):
            del self._actions[state.alert]

    def act(self, action: Action) -> None:
        """A person acknowledged or cleared an alert; the control app answers with an event."""
        if isinstance(action.act, AcknowledgeAlert | ClearAlert):
            state = self._book.get(action.act.alert)
            answered = state is not None and any(
                seen.action_id == action.id for seen in state.acknowledgements
            )
            if not answered:
                self._actions[action.act.alert] = action

    def open_counts(self, patient: str) -> tuple[int, int, int]:
        """Open alerts of a patient: high, medium, low."""
        priorities = list(self._open.get(patient, {}).values())
        return priorities.count("high"), priorities.count("medium"), priorities.count("low")

    def totals(self) -> dict[str, int]:
        """Open alerts of all patients and of the platform, by priority."""
        totals = {"high": 0, "medium": 0, "low": 0}
        for mine in self._open.values():
            for priority in mine.values():
                totals[priority] += 1
        return totals

    def snapshot(self, now: datetime) -> dict[str, AlertLine]:
        """All alerts kept that were raised."""
        _forget(
            lambda: len(self._book), lambda before: self._book.forget_closed(now, before), now, self._keep
        )
        return {
            state.alert: AlertLine(state, self._actions.get(state.alert))
            for state in self._book
            if state.raised is not None
        }


def _forget(size: Callable[[], int], forget: Callable[[datetime], int], now: datetime, keep: int) -> None:
    """Forget what ended longest ago until no more than `keep` are left, or only the last ten minutes."""
    if size() <= keep:
        return
    kept = KEPT
    while size() > keep and kept >= LEAST_KEPT:
        forget(now - kept)
        kept /= 2
