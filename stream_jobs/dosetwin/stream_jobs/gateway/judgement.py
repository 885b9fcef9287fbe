"""The checks a device makes before it obeys, in order; the first that fails is the reason of its refusal.

signature     a trusted key signed exactly this command
repeated      the id was decided before (as another record of the topic)
expired       now < expires_at, on the platform's clock
precondition  the enrolment version is the one the device knows, and `last_acknowledged`, where given,
              is the command that this device last applied (None sets no condition)
hardware      the device can do it (asked last, by applying)
"""

from __future__ import annotations

from dataclasses import dataclass

from dosetwin.platform.contracts import Command
from dosetwin.platform.errors import SignatureError
from dosetwin.platform.signing import Verifier


@dataclass(frozen=True)
class Objection:
    """A failed check: its name for `Acknowledgement.reason`, and the sentence for `detail`."""

    reason: str
    detail: str


def objection(
    command: Command,
    *,
    verifier: Verifier,
    decided_before: tuple[str, str] | None,
    now_s: float,
    enrolment_version: int,
    last_applied: str | None,
) -> Objection | None:
    """The first failed check, None when the device may obey."""
    try:
        verifier.verify(command)
    except SignatureError as error:
        return Objection("signature", str(error))
    if decided_before is not None:
        status, reason = decided_before
        return Objection("repeated", f"this command was {status}{f' ({reason})' if reason else ''} before")
    late_s = now_s - command.expires_at.timestamp()
    if late_s >= 0:
        return Objection("expired", f"expired {late_s:.0f} s before it could be carried out")
    condition = command.precondition
    if condition.enrolment_version != enrolment_version:
        return Objection(
            "precondition",
            f"made for enrolment version {condition.enrolment_version}; the device knows {enrolment_version}",
        )
    if condition.last_acknowledged is not None and condition.last_acknowledged != last_applied:
        return Objection(
            "precondition",
            f"expects {condition.last_acknowledged} as the last command; "
            f"the device last applied {last_applied or 'none'}",
        )
    return None
