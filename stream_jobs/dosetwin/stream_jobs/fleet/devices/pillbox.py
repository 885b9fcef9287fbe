"""A smart pillbox: it knows when a compartment should have been opened, and tells when it was not.

It stands for a patient's other medicines (here a tablet for blood pressure, twice a day), which no twin of
the fleet models: taken tablets are its own business, missed ones are what people act on.
"""

from __future__ import annotations

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import MissedDose

DRUG, AMOUNT_MG = "ramipril", 5.0
HOURS = (8.0, 20.0)
"""Local hours at which a tablet is due."""
GRACE_S = 3600.0
SHARE = 0.3
"""Of the patients, those with a pillbox."""


def missed(due_s: float) -> MissedDose:
    """The report that a tablet was still in its compartment an hour after it was due."""
    return MissedDose(
        drug=DRUG,
        route="oral",
        amount=AMOUNT_MG,
        unit="mg",
        at=instant(due_s),
        reason="the compartment was not opened within an hour",
    )
