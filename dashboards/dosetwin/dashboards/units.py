"""Device units to the units the screens draw in; what cannot be converted is not drawn, and never guessed."""

from __future__ import annotations

from functools import lru_cache

from dosetwin.platform.errors import UnitError
from dosetwin.platform.units import conversion


@lru_cache(maxsize=4096)
def _factor(name: str, unit: str, wanted: str) -> tuple[float, float] | None:
    try:
        factor, offset = conversion(name, unit, wanted)
    except UnitError:
        return None
    return factor, offset


def converted(name: str, value: float, unit: str, wanted: str) -> float | None:
    """`value` of the quantity or drug `name` in `wanted`; None where the unit is unknown or does not fit."""
    if unit == wanted:
        return value
    found = _factor(name, unit, wanted)
    return None if found is None else value * found[0] + found[1]
