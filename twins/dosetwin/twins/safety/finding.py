"""What the supervisor says of a cut: limit, value, bound, unit, effect, reason and the bound's source."""

from __future__ import annotations

from math import isfinite
from typing import Literal

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety.limit_table import Limit

UNKNOWN = -1.0
"""`Refusal.value` where there was nothing to compare: no reading, no forecast (JSON knows no NaN)."""
ALWAYS_ON = "always on"
"""The source of the checks that need no bound."""

Parts = list[Order | None]
"""The orders of a command while they are judged: as proposed, reduced, or None once refused."""
Effect = Literal["reduced", "refused"]


def finding(limit: Limit, value: float, bound: float, unit: str, effect: Effect, reason: str) -> Refusal:
    """A cut by a limit that somebody set."""
    return Refusal(
        limit=limit.key,
        value=_finite(value),
        bound=_finite(bound),
        unit=unit or "1",
        effect=effect,
        reason=reason,
        source=str(limit.bound.source or "no source given"),
    )


def always(limit: str, value: float, reason: str) -> Refusal:
    """A refusal by a check that is always on."""
    return Refusal(
        limit=limit,
        value=_finite(value),
        bound=0.0,
        unit="1",
        effect="refused",
        reason=reason,
        source=ALWAYS_ON,
    )


def malformed(value: float, reason: str) -> Refusal:
    """A refusal of what cannot be judged."""
    return always("malformed", value, reason)


def _finite(value: float) -> float:
    try:
        return float(value) if isfinite(value) else UNKNOWN
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN
