"""What a fleet counts, as the one JSON object it prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

COUNTED = (
    "readings",
    "samples",
    "doses",
    "duplicates_injected",
    "wrong_units_injected",
    "late_injected",
    "dropped_samples",
    "unannounced_meals",
    "missed_boluses",
    "missed_doses",
)


def summary(
    patients: Mapping[str, int],
    sent: Counter[str],
    answers: Counter[str],
    refusals: Counter[str],
    seconds: float,
) -> dict[str, object]:
    """Counters by name; `refused` by reason."""
    return {
        "patients": sum(patients.values()),
        "patients_by_therapy": dict(patients),
        **{name: sent[name] for name in COUNTED},
        "commands_delivered": answers["delivered"],
        "commands_applied": answers["applied"],
        "commands_refused": answers["refused"],
        "refused": dict(refusals),
        "seconds": round(seconds, 1),
    }
