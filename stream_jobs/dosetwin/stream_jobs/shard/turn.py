"""One turn on a batch of records: check, assimilate in rounds, decide for those due, fill the outbox.

Knows no Kafka client: records in, an outbox out. The live loop commits what it fills; recovery runs the
same code on old records with `live=False`, which changes the twins and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dosetwin.platform.clock import PlatformClock
from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    ApproveProposal,
    AuditEntry,
    Enrolment,
    OverrideLimit,
    Prediction,
    RefuseProposal,
)
from dosetwin.platform.errors import SignatureError
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.signing import Verifier
from dosetwin.platform.topics import ACKNOWLEDGEMENTS, ACTIONS, ENROLMENTS
from dosetwin.stream_jobs.shard.decisions import Conclusions, Due
from dosetwin.stream_jobs.shard.intake import Intake, Record, Refused
from dosetwin.stream_jobs.shard.outbox import Outbox
from dosetwin.stream_jobs.shard.patient import Patient
from dosetwin.stream_jobs.shard.roster import Roster
from dosetwin.twins.safety import Override

RHYTHM = 0.9
"""A decision is due after this share of its interval, so that a sensor a little early is not skipped."""


class Turn:
    """Works records into the roster and the outbox."""

    def __init__(self, settings: Settings, metrics: ShardMetrics) -> None:
        self.clock: PlatformClock = settings.platform_clock
        self.metrics = metrics
        self.outbox = Outbox()
        self.roster = Roster(self.clock, settings.shards.chunk_patients)
        self.intake = Intake(
            self.clock,
            settings.kafka.partitions,
            settings.shards.future_tolerance_s,
            self.roster.patients,
        )
        self._conclusions = Conclusions(
            self.clock,
            settings.command_signer(),
            self.outbox,
            metrics,
            settings.shards.proposal_expires_s,
        )
        self._verifier: Verifier = settings.action_verifier()
        self._enrolled: dict[str, Record] = {}
        self.decided_proposals: set[str] = set()
        """Proposals that a person decided on; on recovery they must not come back as open."""

    def take(self, records: Iterable[Record], *, live: bool = True) -> list[Record]:
        """Check a batch and collect its facts; enrolments first, device data last."""
        by_topic: dict[str, list[Record]] = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append(record)
        for record in by_topic.pop(ENROLMENTS.name, ()):
            self._enrolment(record, live)
        for record in by_topic.pop(ACKNOWLEDGEMENTS.name, ()):
            self._acknowledgement(record, live)
        for record in by_topic.pop(ACTIONS.name, ()):
            self._action(record, live)
        self.intake.unknown = []
        for batch in by_topic.values():
            for record in batch:
                self.intake.device_record(record)
        return self.intake.unknown

    def refuse_unknown(self, records: Iterable[Record]) -> None:
        """Take again the records of patients that were unknown; who still is becomes a dead letter."""
        for record in records:
            self.intake.device_record(record, final=True)

    def finish(self, *, live: bool = True, behind: bool = False) -> None:
        """Assimilate what was collected; decide for the patients that are due, unless it is a replay."""
        intake, roster = self.intake, self.roster
        roster.mark(intake.touched)
        observed: set[str] = set()
        for therapy, facts in intake.facts.items():
            bank = roster.bank(therapy)
            with self.metrics.jax_seconds["assimilate"].time():
                assimilation = bank.assimilate(facts)
            for index in assimilation.too_late:
                record, part = intake.origins[therapy][index]
                detail = f"{facts[index][1].name} is older than the twin can still take account of"
                intake.refuse(record, Refused("too_late", detail), part, facts[index][0])
            predictions: dict[str, list[Prediction]] = {}
            for (patient_id, _), prediction in zip(facts, assimilation.predictions, strict=True):
                if prediction is not None:
                    predictions.setdefault(patient_id, []).append(prediction)
            observed.update(predictions)
            if live:
                touched = dict.fromkeys(patient_id for patient_id, _ in facts)
                self._decide(therapy, touched, predictions, observed, behind)
        for patient_id, record in self._enrolled.items():
            therapy = roster.patients[patient_id].therapy.id
            if live and patient_id not in observed and roster.patients[patient_id].therapy.sensor == "sparse":
                intake.touched.setdefault(patient_id, record)
                self._decide(therapy, {patient_id: None}, {}, {patient_id}, behind)
        if live:
            for letter, partition in intake.dead_letters:
                self.outbox.dead_letter(partition, letter)
                self.metrics.rejects[letter.reason].inc()
            self.metrics.observations.inc(intake.samples)
        else:
            for patient_id in intake.touched:
                state = roster.patients[patient_id].state
                state.last_decision_s = max(state.last_decision_s, state.newest_s)
        self._enrolled = {}

    def _decide(
        self,
        therapy: str,
        touched: Iterable[str],
        predictions: dict[str, list[Prediction]],
        observed: set[str],
        behind: bool,
    ) -> None:
        due: list[Due] = []
        for patient_id in touched:
            patient = self.roster.patients[patient_id]
            record = self.intake.touched[patient_id]
            state = patient.state
            elapsed_s = state.newest_s - state.last_decision_s
            is_due = elapsed_s >= RHYTHM * patient.therapy.decision_interval_s
            if patient.therapy.sensor == "sparse":
                is_due = is_due or patient_id in observed
            if not is_due and (behind or patient_id not in observed or elapsed_s <= 0):
                continue
            at_s = state.newest_s
            if patient.therapy.sensor == "sparse" and not patient.therapy.monitoring:
                at_s = max(at_s, self.clock.event_s(record.appended_ms / 1000))
            state.last_decision_s = at_s
            due.append(Due(patient, at_s, record))
        if not due:
            return
        bank = self.roster.bank(therapy)
        with self.metrics.jax_seconds["decide"].time():
            appraisal = bank.decide(
                [item.patient.state.enrolment.patient for item in due], [item.at_s for item in due]
            )
        self._conclusions.conclude(due, appraisal, predictions, bank.model_version)

    def _enrolment(self, record: Record, live: bool) -> None:
        try:
            enrolment: Enrolment = self.intake.decode(record, Enrolment)
            known = self.roster.patients.get(enrolment.patient)
            if known is not None and record.offset < self.intake.contained.get(enrolment.patient, {}).get(
                record.topic, 0
            ):
                return
            patient = self.roster.enrol(enrolment, record)
        except Refused as refused:
            self.intake.refuse(record, refused)
            return
        if patient is not None:
            self._enrolled[enrolment.patient] = record
        if live:
            self.outbox.audit(
                record.partition,
                AuditEntry(
                    patient=enrolment.patient,
                    kind="enrolment",
                    subject=f"{enrolment.patient}@{enrolment.version}",
                    at=enrolment.at,
                    outcome=enrolment.mode if enrolment.active else "withdrawn",
                ),
            )

    def _acknowledgement(self, record: Record, live: bool) -> None:
        try:
            answer: Acknowledgement = self.intake.decode(record, Acknowledgement)
            patient = self.intake.known(answer.patient, record)
        except Refused as refused:
            self.intake.refuse(record, refused)
            return
        if answer.status != "delivered":
            patient.state.note_answer(answer.command_id, answer.status, answer.at.timestamp())
            self.roster.mark((answer.patient,))
            if live:
                self.outbox.audit(
                    record.partition,
                    AuditEntry(
                        patient=answer.patient,
                        kind="acknowledgement",
                        subject=answer.command_id,
                        at=answer.at,
                        outcome=answer.status,
                        reason=answer.reason,
                    ),
                )

    def _action(self, record: Record, live: bool) -> None:
        try:
            action: Action = self.intake.decode(record, Action)
            patient = self.intake.known(action.patient, record)
            try:
                self._verifier.verify(action)
            except SignatureError as error:
                if not isinstance(action.act, ApproveProposal | RefuseProposal):
                    return  # the control app's acts: it writes their dead letters
                raise Refused("bad_signature", str(error)) from error
            if isinstance(action.act, ApproveProposal | RefuseProposal):
                self._on_proposal(patient, action, action.act, record, live)
            elif isinstance(action.act, OverrideLimit):
                self._on_override(patient, action, action.act)
        except Refused as refused:
            self.intake.refuse(record, refused)
            return
        self.roster.mark((action.patient,))
        if live:
            self.outbox.audit(
                record.partition,
                AuditEntry(
                    patient=action.patient,
                    kind="action",
                    subject=action.id,
                    at=action.at,
                    outcome=type(action.act).__name__,
                    reason=f"{action.person} ({action.role}): {action.reason}",
                ),
            )

    @staticmethod
    def _on_override(patient: Patient, action: Action, act: OverrideLimit) -> None:
        problem = patient.override(
            Override(
                limit=act.limit,
                value=act.value.value,
                unit=act.value.unit,
                person=action.person,
                role=action.role,
                from_s=action.at.timestamp(),
                until_s=act.until.timestamp(),
                reason=action.reason,
            )
        )
        if problem:
            raise Refused("bad_override", problem)

    def _on_proposal(
        self,
        patient: Patient,
        action: Action,
        act: ApproveProposal | RefuseProposal,
        record: Record,
        live: bool,
    ) -> None:
        self.decided_proposals.add(act.proposal_id)
        if len(self.decided_proposals) > 100_000:
            self.decided_proposals.clear()
        proposal = patient.state.proposals.pop(act.proposal_id, None)
        if not live:
            return
        if proposal is None:
            raise Refused("unknown_subject", f"proposal {act.proposal_id} does not wait for anybody")
        now_s = self.clock.event_s()
        if proposal.expires_at.timestamp() <= now_s:
            raise Refused("unknown_subject", f"proposal {act.proposal_id} expired at {proposal.expires_at}")
        if proposal.enrolment_version != patient.state.enrolment.version:
            raise Refused(
                "stale_enrolment",
                f"proposal {act.proposal_id} was made under enrolment version {proposal.enrolment_version}; "
                f"version {patient.state.enrolment.version} is in force",
            )
        if isinstance(act, ApproveProposal):
            self._conclusions.approve(patient, proposal, action.person, record)
