"""One full message of every contract, for the tests of codec, schemas and signatures."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dosetwin.platform.audit_chain import link
from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    ApproveProposal,
    AuditEntry,
    Band,
    Bolus,
    Candidate,
    Command,
    DeadLetter,
    Decision,
    Dose,
    EnrolledDevice,
    Enrolment,
    Estimate,
    Forecast,
    Infusion,
    Measure,
    MissedDose,
    Order,
    Precondition,
    Prediction,
    Proposal,
    RateChange,
    Reading,
    Refusal,
    Sample,
    TwinSnapshot,
)

PATIENT = "p-" + "0123456789" * 2
AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LATER = AT + timedelta(minutes=15)
ID, OTHER = str(uuid.UUID(int=7)), str(uuid.UUID(int=8))

ORDER = Order(
    drug="insulin",
    route="subcutaneous",
    kind="rate",
    amount=1.25,
    unit="U/h",
    duration_s=1800.0,
    interval_s=0.0,
)
COMMAND = Command(
    patient=PATIENT,
    id=ID,
    device="pump-1",
    orders=(ORDER,),
    issued_at=AT,
    expires_at=LATER,
    precondition=Precondition(enrolment_version=3, last_acknowledged=OTHER),
    decision_id=OTHER,
    source="readings/2:77",
    proposal_id=OTHER,
)
ACTION = Action(
    patient=PATIENT,
    id=ID,
    person="ada",
    role="physician",
    at=AT,
    act=ApproveProposal(proposal_id=OTHER),
    reason="meal announced",
)
DECISION = Decision(
    id=ID,
    at=AT,
    outcome="command",
    chosen="basal x 1.2",
    orders=(ORDER,),
    reason="rising, 12 % above target",
    candidates=(
        Candidate(name="basal x 1.2", orders=(ORDER,), utility=0.4, attainment=0.8, risks={"low": 0.01}),
    ),
    refusals=(
        Refusal(
            limit="bolus",
            value=9.0,
            bound=5.0,
            unit="U",
            effect="reduced",
            reason="hard limit",
            source="label",
        ),
    ),
    evidence={"on_board_U": 1.5},
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    Reading(
        patient=PATIENT,
        device="cgm-1",
        boot="b1",
        sequence=5,
        sent_at=AT,
        samples=(
            Sample(quantity="glucose", value=142.0, unit="mg/dL", at=AT, code="LOINC 99504-3"),
            Sample(quantity="vancomycin", value=2.0, unit="mg/L", at=AT, censored="below", quality="suspect"),
        ),
    ),
    Dose(
        patient=PATIENT,
        device="pump-1",
        boot="b1",
        sequence=6,
        sent_at=AT,
        administrations=(
            Bolus(drug="insulin", route="subcutaneous", amount=2.0, unit="U", at=AT, command_id=ID),
            Infusion(drug="vancomycin", route="intravenous", amount=1000, unit="mg", at=AT, duration_s=3600),
            RateChange(drug="insulin", route="subcutaneous", rate=0.9, unit="U/h", at=AT),
            MissedDose(drug="quinidine", route="oral", amount=200, unit="mg", at=AT, reason="asleep"),
        ),
    ),
    Enrolment(
        patient=PATIENT,
        version=3,
        therapy="t1d-insulin",
        mode="advisory",
        at=AT,
        ward="5B",
        covariates={"weight": Measure(70, "kg")},
        targets={"low": Measure(70, "mg/dL")},
        limits={"bolus": Measure(5, "U")},
        devices=(EnrolledDevice(device="pump-1", kind="insulin_pump", commands=True),),
    ),
    ACTION,
    COMMAND,
    Proposal(
        patient=PATIENT,
        id=ID,
        device="pump-1",
        orders=(ORDER,),
        proposed_at=AT,
        expires_at=LATER,
        enrolment_version=3,
        decision_id=OTHER,
        source="readings/2:77",
        reason="rising",
    ),
    Acknowledgement(
        patient=PATIENT,
        device="pump-1",
        boot="b1",
        sequence=7,
        sent_at=AT,
        command_id=ID,
        status="applied",
        at=AT,
        application_id="a1",
    ),
    AlertRaised(
        patient=PATIENT,
        alert=ID,
        at=AT,
        kind="predicted_low",
        priority="high",
        message="low within 20 min",
        evidence={"risk": 0.6},
        source="readings/2:77",
    ),
    AlertEscalated(patient=PATIENT, alert=ID, at=AT, level=1, to="charge nurse"),
    AlertAcknowledged(patient=PATIENT, alert=ID, at=AT, person="ada", until=LATER, action_id=OTHER),
    AlertCleared(patient=PATIENT, alert=ID, at=AT, by="ada", reason="ate"),
    link(None, 2, [AuditEntry(patient=PATIENT, kind="decision", subject=ID, at=AT, outcome="command")], AT),
    DeadLetter(
        reason="unknown_unit",
        detail="mcg",
        topic="readings",
        partition=2,
        offset=78,
        at=AT,
        payload=b"\x00\xff{",
        key=PATIENT.encode(),
        index=1,
        patient=PATIENT,
    ),
    TwinSnapshot(
        partition=2,
        chunk=0,
        at=AT,
        offsets={"readings": 78},
        models={"t1d-insulin": "1"},
        patients=4,
        payload=b"\x78\x9c",
    ),
    Forecast(
        patient=PATIENT,
        therapy="t1d-insulin",
        model="hovorka-2004",
        at=AT,
        source="readings/2:77",
        bands=(
            Band(
                quantity="glucose",
                unit="mg/dL",
                start=AT,
                step_s=300.0,
                quantiles=(0.05, 0.5, 0.95),
                values=[[100.0, 98.0], [120.0, 121.0], [150.0, 160.0]],
            ),
        ),
        predictions=(
            Prediction(
                quantity="glucose",
                unit="mg/dL",
                at=AT,
                observed=142,
                median=140,
                low=120,
                high=165,
                population=150,
            ),
        ),
        estimates={"S_I": Estimate(median=1.0, low=0.7, high=1.4, unit="1")},
        risks={"below_70": 0.02},
        attainment=0.9,
        time_to_event_s=None,
        decision=DECISION,
    ),
)


@pytest.fixture
def examples() -> tuple[msgspec.Struct, ...]:
    """One message of every contract."""
    return EXAMPLES


@pytest.fixture
def command() -> Command:
    return COMMAND


@pytest.fixture
def action() -> Action:
    return ACTION
