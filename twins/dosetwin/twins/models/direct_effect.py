"""Effects as functions of a concentration: linear, Emax, sigmoid Emax.

    E = E0 + Emax C^h / (EC50^h + C^h)        (h = 1: Emax; h free: sigmoid, Hill's exponent)

`direct_effect` makes the function that `Observed(output=...)` takes, so that an effect of the same moment's
concentration needs no compartment. Source: Holford & Sheiner 1981, doi:10.2165/00003088-198106060-00002.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from dosetwin.twins.models.errors import ModelError


def emax(C: Any, maximum: Any, half: Any, hill: Any = None) -> Any:
    """Maximum C^h / (half^h + C^h); without `hill` h = 1. With it, 0 where C <= 0, derivatives included."""
    if hill is None:
        return maximum * C / (half + C)
    present = C > 0
    # (C/half)^h through its logarithm, so that very steep curves do not overflow
    logit = hill * jnp.log(jnp.where(present, C, half) / half)
    return jnp.where(present, maximum / (1 + jnp.exp(-logit)), 0.0)


@dataclass(frozen=True)
class DirectEffect:
    """(p, y) -> baseline x (1 + E) or baseline + E, of an output of the structure; see `direct_effect`."""

    output: str
    kind: Literal["linear", "emax", "sigmoid"]
    baseline: str
    combined: Literal["added", "proportional", "inhibiting"]

    def __call__(self, p: Any, y: Any) -> Any:
        """The effect."""
        C = getattr(y, self.output)
        if self.kind == "linear":
            effect = p.slope * C
        else:
            effect = emax(C, p.Emax, p.EC50, p.hill if self.kind == "sigmoid" else None)
        if not self.baseline:
            return effect
        E0 = getattr(p, self.baseline)
        if self.combined == "added":
            return E0 + effect
        return E0 * (1 + effect if self.combined == "proportional" else 1 - effect)


def direct_effect(
    output: str = "central",
    kind: Literal["linear", "emax", "sigmoid"] = "emax",
    *,
    baseline: str = "E0",
    combined: Literal["added", "proportional", "inhibiting"] = "added",
) -> Callable[[Any, Any], Any]:
    """For `Observed(output=...)`: E0 + E, E0 (1 + E) or E0 (1 - E), E of the named output's concentration.

    Parameters: Emax, EC50 (and hill), or slope; and the baseline's name ("" = none).
    """
    if kind not in ("linear", "emax", "sigmoid"):
        raise ModelError(f"found effect {kind!r}; expected linear, emax or sigmoid")
    if combined not in ("added", "proportional", "inhibiting"):
        raise ModelError(f"found combination {combined!r}; expected added, proportional or inhibiting")
    return DirectEffect(output, kind, baseline, combined)
