"""The messages on every topic, as frozen structs: the one truth about what may be said.

Payloads are JSON. `dosetwin contracts` writes them as an AsyncAPI 3 document with JSON Schemas.
"""

from dosetwin.platform.contracts.action import (
    AcknowledgeAlert,
    Act,
    Action,
    ApproveProposal,
    ChangeMode,
    ClearAlert,
    OverrideLimit,
    RefuseProposal,
)
from dosetwin.platform.contracts.alert import (
    Alert,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    Priority,
)
from dosetwin.platform.contracts.audit import AuditEntry, AuditRecord
from dosetwin.platform.contracts.command import Acknowledgement, Command, Order, Precondition, Proposal
from dosetwin.platform.contracts.dead_letter import DeadLetter, DeadLetterReason
from dosetwin.platform.contracts.dose import (
    Administration,
    Bolus,
    Dose,
    Infusion,
    MissedDose,
    RateChange,
)
from dosetwin.platform.contracts.enrolment import EnrolledDevice, Enrolment, Measure, Mode
from dosetwin.platform.contracts.event import CONTRACT_VERSION, DeviceEvent, Event
from dosetwin.platform.contracts.forecast import (
    Band,
    Candidate,
    Decision,
    Estimate,
    Forecast,
    Prediction,
    Refusal,
)
from dosetwin.platform.contracts.reading import Reading, Sample
from dosetwin.platform.contracts.twin_snapshot import TwinSnapshot

__all__ = [
    "CONTRACT_VERSION",
    "AcknowledgeAlert",
    "Acknowledgement",
    "Act",
    "Action",
    "Administration",
    "Alert",
    "AlertAcknowledged",
    "AlertCleared",
    "AlertEscalated",
    "AlertRaised",
    "ApproveProposal",
    "AuditEntry",
    "AuditRecord",
    "Band",
    "Bolus",
    "Candidate",
    "ChangeMode",
    "ClearAlert",
    "Command",
    "DeadLetter",
    "DeadLetterReason",
    "Decision",
    "DeviceEvent",
    "Dose",
    "EnrolledDevice",
    "Enrolment",
    "Estimate",
    "Event",
    "Forecast",
    "Infusion",
    "Measure",
    "MissedDose",
    "Mode",
    "Order",
    "OverrideLimit",
    "Precondition",
    "Prediction",
    "Priority",
    "Proposal",
    "RateChange",
    "Reading",
    "Refusal",
    "RefuseProposal",
    "Sample",
    "TwinSnapshot",
]
