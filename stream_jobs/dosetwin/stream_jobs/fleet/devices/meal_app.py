"""A meal app: people announce what they are about to eat, roughly, and sometimes not at all."""

from __future__ import annotations

import math

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Sample

ESTIMATE_LOG_SD = 0.25
"""People's carbohydrate estimates are off by about a quarter (Brazeau et al., Diabetes Res Clin Pract
2013;99:19: 15.4 g, 21 % of a meal)."""


def announcement(carbohydrate_g: float, at_s: float) -> Sample:
    """A meal of about `carbohydrate_g`, eaten from `at_s` on."""
    return Sample(quantity="carbohydrate", value=round(carbohydrate_g), unit="g", at=instant(at_s))


def estimate_g(carbohydrate_g: float, normal: float) -> float:
    """What a person takes a meal for, to 5 g; `normal` is a standard normal draw."""
    rough = carbohydrate_g * math.exp(ESTIMATE_LOG_SD * normal)
    return max(5.0, 5.0 * round(rough / 5.0))
