"""A sensor that stopped talking, and a ward that stopped all at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from dosetwin.platform.alert_state import AlertState
from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import AlertCleared, AlertRaised, Enrolment
from dosetwin.platform.identifiers import PLATFORM, identifier
from dosetwin.platform.settings import ControlSettings
from dosetwin.stream_jobs.control.state import ControlState, Message
from dosetwin.twins.therapies import load_therapy

KIND = "silent_device"
EVENT_DRIVEN = frozenset(
    {"insulin_pump", "smart_pen", "meal_app", "infusion_pump", "laboratory", "wearable", "pillbox", "replay"}
)
"""Device kinds that speak when something happens: their silence says nothing. Any other kind of a dense
therapy (a continuous glucose monitor, a kind not known yet) is expected at the therapy's interval."""
WARD_DEVICES = 20
"""More devices than this of one ward that stop together have one cause, and get one alert."""
LATE_INTERVALS = 2.0
"""A device that missed this many intervals counts for its ward, before it is silent by itself."""


@dataclass(frozen=True)
class Quiet:
    """A device that has not been heard for `silent_s`; it is silent at `due_s`."""

    enrolment: Enrolment
    device: str
    heard_s: float
    silent_s: float
    due_s: float
    interval_s: float


def silences(state: ControlState, known_until_s: float, control: ControlSettings) -> list[Message]:
    """What is due about silent devices.

    `known_until_s` is the event time up to which readings are known, not now: an app that catches up after
    a stop takes nobody for silent whose readings it has not read yet.
    """
    messages: list[Message] = []
    late: dict[str, list[Quiet]] = defaultdict(list)
    for enrolment in state.enrolments.values():
        interval_s = watched_interval_s(enrolment)
        if interval_s is None:
            messages.extend(
                _cleared(life, known_until_s, "the patient is not watched any more")
                for life in state.running(enrolment.patient, KIND)
            )
            continue
        _resumed(state, enrolment, messages)
        for device in enrolment.devices:
            if device.kind in EVENT_DRIVEN:
                continue
            heard_s = state.heard_s.get((enrolment.patient, device.device))
            if heard_s is None:
                heard_s = max(state.enrolled_s.get(enrolment.patient, 0.0), state.listening_since_s)
            silent_s = known_until_s - heard_s
            if silent_s >= min(LATE_INTERVALS, control.silent_factor) * interval_s:
                due_s = heard_s + control.silent_factor * interval_s
                late[enrolment.ward].append(
                    Quiet(enrolment, device.device, heard_s, silent_s, due_s, interval_s)
                )
    together = _wards(state, late, known_until_s, messages)
    for ward, devices in late.items():
        if ward not in together:
            messages.extend(_alone(state, devices, known_until_s))
    return messages


def watched_interval_s(enrolment: Enrolment) -> float | None:
    """How often a patient's sensors are expected, None where nobody waits for them."""
    therapy = load_therapy(enrolment.therapy)
    return therapy.sampling_interval_s if enrolment.active and therapy.sensor == "dense" else None


def _alone(state: ControlState, devices: list[Quiet], known_until_s: float) -> list[Message]:
    found: list[Message] = []
    for quiet in devices:
        patient = quiet.enrolment.patient
        if known_until_s < quiet.due_s or _known(state, patient, quiet.device):
            continue
        high = quiet.enrolment.mode == "autonomous"
        found.append(
            AlertRaised(
                patient=patient,
                alert=identifier(patient, KIND, quiet.device, f"{quiet.heard_s:.3f}"),
                at=instant(quiet.due_s),
                kind=KIND,
                priority="high" if high else "medium",
                message=f"{quiet.device} has sent nothing for {(quiet.due_s - quiet.heard_s) / 60:.0f} min",
                evidence={"last_reading_s": quiet.heard_s, "interval_s": quiet.interval_s},
                origin="control",
            )
        )
    return found


def _known(state: ControlState, patient: str, device: str) -> bool:
    return any(_is_of(life, patient, device) for life in state.running(patient, KIND))


def _is_of(life: AlertState, patient: str, device: str) -> bool:
    """Whether an alert is about this device: its id follows from the device and the evidence it carries."""
    assert life.raised is not None
    heard_s = life.raised.evidence.get("last_reading_s", 0.0)
    return life.raised.alert == identifier(patient, KIND, device, f"{heard_s:.3f}")


def _resumed(state: ControlState, enrolment: Enrolment, messages: list[Message]) -> None:
    for life in state.running(enrolment.patient, KIND):
        assert life.raised is not None
        device = next(
            (named.device for named in enrolment.devices if _is_of(life, enrolment.patient, named.device)),
            None,
        )
        if device is None:
            gone = "the device is not the patient's any more"
            messages.append(_cleared(life, enrolment.at.timestamp(), gone))
            continue
        heard_s = state.heard_s.get((enrolment.patient, device), 0.0)
        if heard_s > life.raised.evidence["last_reading_s"] + 1e-3:
            messages.append(_cleared(life, heard_s, f"{device} sends again"))


def _wards(
    state: ControlState, late: dict[str, list[Quiet]], known_until_s: float, messages: list[Message]
) -> set[str]:
    """Wards whose devices are silent together; raises and clears their alerts."""
    running = {_ward_of(life, late): life for life in state.running(PLATFORM, KIND)}
    together = set()
    for ward, devices in late.items():
        if not ward or len(devices) <= WARD_DEVICES:
            continue
        together.add(ward)
        due_s = min(quiet.due_s for quiet in devices)
        if ward in running or known_until_s < due_s:
            continue
        since_s = min(quiet.heard_s for quiet in devices)
        high = any(quiet.enrolment.mode == "autonomous" for quiet in devices)
        messages.append(
            AlertRaised(
                patient=PLATFORM,
                alert=identifier(PLATFORM, KIND, ward, f"{since_s:.3f}"),
                at=instant(due_s),
                kind=KIND,
                priority="high" if high else "medium",
                message=f"ward {ward}: {len(devices)} devices stopped sending; look at the network first",
                evidence={"devices": float(len(devices)), "last_reading_s": since_s},
                origin="control",
            )
        )
    for named, life in running.items():
        if named is None or named not in together:
            messages.append(_cleared(life, known_until_s, "the ward's devices send again"))
    return together


def _ward_of(life: AlertState, late: dict[str, list[Quiet]]) -> str | None:
    assert life.raised is not None
    since_s = life.raised.evidence.get("last_reading_s", 0.0)
    for ward in late:
        if life.raised.alert == identifier(PLATFORM, KIND, ward, f"{since_s:.3f}"):
            return ward
    return None


def _cleared(life: AlertState, at_s: float, reason: str) -> AlertCleared:
    assert life.raised is not None
    return AlertCleared(
        patient=life.raised.patient,
        alert=life.raised.alert,
        at=instant(max(at_s, life.raised.at.timestamp())),
        by="condition",
        reason=reason,
    )
