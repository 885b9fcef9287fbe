"""Device units to the units the screens draw in; what cannot be converted is not drawn, and never guessed."""

from __future__ import annotations

from dosetwin.dashboards.presentation import SCALES

FACTORS: dict[tuple[str, str], float] = {
    ("mmol/L", "mg/dL"): 18.0156,
    ("ug/mL", "mg/L"): 1.0,
    ("ug/L", "ng/mL"): 1.0,
    ("ng/mL", "mg/L"): 1e-3,
    ("mg/L", "ng/mL"): 1e3,
    ("[iU]", "U"): 1.0,
}


class Canonical:
    """Converts a quantity's values to its canonical unit, with one factor kept a pair of units."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float | None] = {}

    def value(self, quantity: str, value: float, unit: str) -> float | None:
        """The value in the quantity's canonical unit; None where the unit does not fit."""
        factor = self._factors.get((quantity, unit), -1.0)
        if factor == -1.0:
            factor = self._factors[quantity, unit] = self._factor(quantity, unit)
        return None if factor is None else value * factor

    def unit(self, quantity: str, unit: str) -> str:
        """The canonical unit of a quantity; the unit it came in for a quantity without a scale."""
        scale = SCALES.get(quantity)
        return unit if scale is None else scale.unit

    def _factor(self, quantity: str, unit: str) -> float | None:
        canonical = self.unit(quantity, unit)
        return 1.0 if unit == canonical else FACTORS.get((unit, canonical))
