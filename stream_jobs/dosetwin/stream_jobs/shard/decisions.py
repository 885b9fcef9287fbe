"""From an appraisal to what leaves: the supervisor's verdict, a forecast, a command or a proposal, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.contracts import (
    AlertCleared,
    AlertRaised,
    AuditEntry,
    Command,
    Decision,
    Forecast,
    Order,
    Precondition,
    Prediction,
    Proposal,
    Refusal,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.signing import Signer
from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.outbox import Outbox
from dosetwin.stream_jobs.shard.patient import Patient
from dosetwin.twins.bank import Appraisal
from dosetwin.twins.decision import AppraisalRecords
from dosetwin.twins.safety import Situation, Verdict, review
from dosetwin.twins.therapy import AlertRule

ROUTINE_LIMITS = frozenset({"pending_command", "minimum_interval", "compound"})
"""Refusals that belong to the normal rhythm of a loop and call nobody."""


@dataclass(frozen=True)
class Due:
    """A patient to decide for: the event time to forecast from and the record that made it due."""

    patient: Patient
    at_s: float
    record: Record


@dataclass
class Conclusions:
    """Writes what follows from appraisals into the outbox."""

    clock: PlatformClock
    signer: Signer
    outbox: Outbox
    metrics: ShardMetrics
    proposal_expires_s: float

    def conclude(
        self,
        due: Sequence[Due],
        appraisal: Appraisal,
        predictions: Mapping[str, list[Prediction]],
        model: str,
    ) -> None:
        """One forecast with its decision for each patient that was due, and what the decision sends."""
        now_s = self.clock.event_s()
        numbers = AppraisalRecords(appraisal)
        for index, item in enumerate(due):
            self._conclude_one(index, item, appraisal, numbers, predictions, model, now_s)

    def _conclude_one(
        self,
        index: int,
        item: Due,
        appraisal: Appraisal,
        numbers: AppraisalRecords,
        predictions: Mapping[str, list[Prediction]],
        model: str,
        now_s: float,
    ) -> None:
        patient, record = item.patient, item.record
        state, therapy = patient.state, patient.therapy
        patient_id = state.enrolment.patient
        best = int(appraisal.best[index])
        source = record.source
        decision = None
        if not therapy.monitoring:
            orders = appraisal.orders[index][best]
            state.on_board = {
                drug: max(0.0, float(amounts[index])) for drug, amounts in appraisal.on_board.items()
            }
            state.lowest = {
                quantity: float(values[index, best]) for quantity, values in appraisal.lowest.items()
            }
            verdict = (
                review(orders, situation(patient, now_s), patient.held_at(now_s), therapy.guarded)
                if orders
                else None
            )
            outcome, leaving, reason = self._outcome(patient, orders, verdict, now_s)
            reason = reason or appraisal.reasons[index]
            findings = verdict.findings if verdict is not None else ()
            decision = Decision(
                id=identifier(patient_id, source, "decision"),
                at=instant(now_s),
                outcome=outcome,
                chosen=appraisal.names(index)[best],
                orders=leaving,
                reason=reason,
                candidates=numbers.candidates(index),
                refusals=findings,
                evidence=numbers.evidence[index],
                would_change=appraisal.would_change[index],
            )
            if outcome == "command":
                self._command(patient, leaving, decision, record, now_s)
            elif outcome == "proposal":
                self._propose(patient, leaving, decision, record, now_s)
            self.outbox.audit(
                patient.partition,
                AuditEntry(
                    patient=patient_id,
                    kind="decision",
                    subject=decision.id,
                    at=decision.at,
                    outcome=outcome,
                    reason=reason,
                ),
            )
            self.metrics.decisions[outcome].inc()
            for finding in findings:
                self.metrics.refusals[finding.limit, finding.effect].inc()
            self._refusal_alerts(patient, findings, outcome, source, now_s)
        risks = numbers.risks[index][best]
        attainment = numbers.attainment[index][best]
        self._rule_alerts(patient, risks, attainment, source, now_s)
        self.outbox.forecast(
            patient.partition,
            Forecast(
                patient=patient_id,
                therapy=therapy.id,
                model=model,
                at=instant(item.at_s),
                source=source,
                bands=numbers.bands(index, item.at_s),
                predictions=tuple(predictions.get(patient_id, ())),
                estimates=numbers.estimates(index),
                risks=risks,
                attainment=attainment,
                time_to_event_s=numbers.time_to_event_s(index),
                decision=decision,
            ),
        )

    def _outcome(
        self, patient: Patient, orders: tuple[Order, ...], verdict: Verdict | None, now_s: float
    ) -> tuple[Any, tuple[Order, ...], str]:
        """What becomes of the proposal: outcome, the orders that leave, and a reason where it differs."""
        if verdict is None:
            return "none", (), ""
        if verdict.refused or not verdict.orders:
            return "refused", (), "; ".join(finding.reason for finding in verdict.findings)
        mode = patient.state.enrolment.mode
        if mode == "shadow":
            return "shadow", verdict.orders, ""
        if patient.device is None:
            return "shadow", verdict.orders, "no enrolled device of this patient obeys commands"
        if mode == "autonomous":
            return "command", verdict.orders, ""
        _forget_expired(patient, now_s)
        gives_drug = any(order.amount > 0 for order in verdict.orders)
        waiting = patient.state.proposals.values()
        if waiting and (gives_drug or any(proposal.orders == verdict.orders for proposal in waiting)):
            return "none", (), "earlier advice still waits for a person"
        return "proposal", verdict.orders, ""

    def _command(
        self,
        patient: Patient,
        orders: tuple[Order, ...],
        decision: Decision,
        record: Record,
        now_s: float,
        proposal_id: str | None = None,
    ) -> Command:
        state = patient.state
        assert patient.device is not None
        expires_s = now_s + patient.therapy.command_expires_s
        command = self.signer.sign(
            Command(
                patient=state.enrolment.patient,
                id=identifier(state.enrolment.patient, record.source, 0),
                device=patient.device,
                orders=orders,
                issued_at=instant(now_s),
                expires_at=instant(expires_s),
                precondition=Precondition(
                    enrolment_version=state.enrolment.version, last_acknowledged=state.last_applied
                ),
                decision_id=decision.id,
                source=record.source,
                proposal_id=proposal_id,
            )
        )
        self.outbox.order(patient.partition, command)
        state.note_command(command.id, orders, now_s, expires_s)
        return command

    def _propose(
        self, patient: Patient, orders: tuple[Order, ...], decision: Decision, record: Record, now_s: float
    ) -> None:
        state = patient.state
        assert patient.device is not None
        proposal = Proposal(
            patient=state.enrolment.patient,
            id=identifier(state.enrolment.patient, record.source, "proposal"),
            device=patient.device,
            orders=orders,
            proposed_at=instant(now_s),
            expires_at=instant(now_s + self.proposal_expires_s),
            enrolment_version=state.enrolment.version,
            decision_id=decision.id,
            source=record.source,
            candidate=decision.chosen,
            reason=decision.reason,
        )
        state.proposals = {proposal.id: proposal}  # advice to suspend overtakes what waits
        self.outbox.order(patient.partition, proposal)

    def approve(self, patient: Patient, proposal: Proposal, person: str, record: Record) -> Verdict:
        """A person approved: the supervisor judges once more, on what is known now; then it leaves."""
        now_s = self.clock.event_s()
        state = patient.state
        state.proposals.pop(proposal.id, None)
        proposed_s = proposal.proposed_at.timestamp()
        verdict = review(
            proposal.orders,
            situation(patient, now_s, proposed_s),
            patient.held_at(now_s),
            patient.therapy.guarded,
        )
        outcome: Any = "refused" if verdict.refused or not verdict.orders else "command"
        decision = Decision(
            id=identifier(state.enrolment.patient, record.source, "decision"),
            at=instant(now_s),
            outcome=outcome,
            chosen=proposal.candidate,
            orders=verdict.orders,
            reason=f"{person} approved: {proposal.reason}",
            candidates=(),
            refusals=verdict.findings,
        )
        if outcome == "command":
            self._command(patient, verdict.orders, decision, record, now_s, proposal.id)
        else:
            reasons = "; ".join(finding.reason for finding in verdict.findings)
            self.raise_alert(
                patient,
                "refused_proposal",
                "medium",
                f"approved by {person}, refused by the safety supervisor: {reasons}",
                {finding.limit: finding.value for finding in verdict.findings},
                record.source,
                now_s,
            )
        self.outbox.audit(
            patient.partition,
            AuditEntry(
                patient=state.enrolment.patient,
                kind="decision",
                subject=decision.id,
                at=decision.at,
                outcome=outcome,
                reason=decision.reason,
            ),
        )
        self.metrics.decisions[outcome].inc()
        return verdict

    def raise_alert(
        self,
        patient: Patient,
        kind: str,
        priority: Any,
        message: str,
        evidence: dict[str, float],
        source: str,
        now_s: float,
    ) -> None:
        """Raise an alert of a kind unless one of that kind is open for the patient."""
        state = patient.state
        if kind in state.alerts:
            return
        alert = identifier(state.enrolment.patient, kind, source)
        state.alerts[kind] = alert
        self.outbox.alert(
            patient.partition,
            AlertRaised(
                patient=state.enrolment.patient,
                alert=alert,
                at=instant(now_s),
                kind=kind,
                priority=priority,
                message=message,
                evidence=evidence,
                source=source,
            ),
        )
        self.metrics.alerts[kind, priority].inc()

    def clear_alert(self, patient: Patient, kind: str, reason: str, now_s: float) -> None:
        """The condition ended."""
        alert = patient.state.alerts.pop(kind, None)
        if alert is not None:
            self.outbox.alert(
                patient.partition,
                AlertCleared(
                    patient=patient.state.enrolment.patient, alert=alert, at=instant(now_s), reason=reason
                ),
            )

    def _refusal_alerts(
        self,
        patient: Patient,
        findings: tuple[Refusal, ...],
        outcome: str,
        source: str,
        now_s: float,
    ) -> None:
        limits = {finding.limit.partition("@")[0]: finding for finding in findings}
        stale = limits.get("stale_after")
        if stale is not None:
            priority = "high" if patient.state.enrolment.mode == "autonomous" else "medium"
            self.raise_alert(
                patient, "stale_sensor", priority, stale.reason, {"age_s": stale.value}, source, now_s
            )
        elif patient.state.alerts:
            self.clear_alert(patient, "stale_sensor", "readings are fresh again", now_s)
        serious = [finding for finding in findings if finding.limit.partition("@")[0] not in ROUTINE_LIMITS]
        if outcome == "refused" and serious and stale is None:
            self.raise_alert(
                patient,
                "refused_proposal",
                "low",
                "the safety supervisor refused: " + "; ".join(finding.reason for finding in serious),
                {finding.limit: finding.value for finding in serious},
                source,
                now_s,
            )
        elif outcome in ("command", "proposal", "shadow") and patient.state.alerts:
            self.clear_alert(patient, "refused_proposal", "a later proposal passed", now_s)

    def _rule_alerts(
        self, patient: Patient, risks: dict[str, float], attainment: float, source: str, now_s: float
    ) -> None:
        for rule in patient.therapy.alerts:
            value = _measured(rule, patient, risks, attainment)
            if value is None:
                continue
            if (value > rule.begins) if rule.above else (value < rule.begins):
                self.raise_alert(
                    patient,
                    rule.kind,
                    rule.priority,
                    rule.message.format(value=value),
                    {rule.measure: value},
                    source,
                    now_s,
                )
            elif rule.kind in patient.state.alerts and (
                (value < rule.ends) if rule.above else (value > rule.ends)
            ):
                self.clear_alert(patient, rule.kind, f"{rule.measure} is {value:.3g} again", now_s)


def situation(patient: Patient, now_s: float, proposed_s: float | None = None) -> Situation:
    """What the supervisor may know of a patient now, from what was measured, given and answered.

    `proposed_s`: when what it judges was proposed, where a person approved it later.
    """
    state = patient.state
    pending = state.pending_command(now_s)
    return state.watch.situation(
        now_s,
        lowest=state.lowest,
        on_board={drug.name: state.on_board.get(drug.name) for drug in patient.therapy.drugs},
        covariates=patient.covariates,
        basal_rates=patient.basal_rates,
        pending_command=pending,
        pending_suspends=pending is not None and not state.pending[pending].adds_drug,
        proposed_s=proposed_s,
    )


def _forget_expired(patient: Patient, now_s: float) -> None:
    proposals = patient.state.proposals
    for proposal_id in [i for i, p in proposals.items() if p.expires_at.timestamp() <= now_s]:
        del proposals[proposal_id]


def _measured(rule: AlertRule, patient: Patient, risks: dict[str, float], attainment: float) -> float | None:
    if rule.measure == "observed":
        watched = patient.state.watch.readings.get(patient.therapy.guarded)
        return None if watched is None else watched.value
    if rule.measure == "attainment":
        return attainment
    return risks.get(rule.measure)
