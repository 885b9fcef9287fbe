"""The errors dosetwin raises on purpose: each says what was found, what was expected, what to do."""

from __future__ import annotations


class DoseTwinError(Exception):
    """Base of every error dosetwin raises on purpose.

    `remedy` is the sentence that tells the reader what to do next; the command line prints it apart.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class SettingsError(DoseTwinError):
    """A setting is missing, malformed or contradicts another."""


class UnitError(DoseTwinError):
    """A unit is unknown, or of another dimension than the quantity it was given for."""


class UnknownUnitError(UnitError):
    """A unit is no UCUM unit that this registry knows."""


class WrongDimensionError(UnitError):
    """A unit is known, but measures something else than what it was given for."""


class BrokerError(DoseTwinError):
    """The broker could not be provisioned, started or reached."""


class TopicError(DoseTwinError):
    """A topic on the broker contradicts its contract."""


class SignatureError(DoseTwinError):
    """A signature is missing, malformed or not made by the expected key."""


class TherapyError(DoseTwinError):
    """A therapy is unknown, or an enrolment lacks what its therapy needs."""


class SnapshotError(DoseTwinError):
    """A twin snapshot cannot be used: another model version, or older than its sources."""
