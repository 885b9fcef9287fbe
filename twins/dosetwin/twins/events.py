"""What a twin is told: checked values in canonical units, with their event time. No Kafka in here."""

from __future__ import annotations

from typing import Literal

import msgspec


class TwinEvent(msgspec.Struct, frozen=True, gc=False):
    """One fact about one patient, as the banks take it.

    kind          name        value                        duration_s
    "observation" quantity    canonical unit of quantity   -
    "bolus"       drug        canonical amount of drug     -
    "infusion"    drug        canonical amount of drug     > 0
    "rate"        drug        canonical amount / hour      until the next rate event of that drug
    "meal"        "carbohydrate"  g                        -
    "covariate"   covariate   canonical unit of covariate  holds from `at_s` on
    "announcement" what was announced (exercise, stimulus, site_change, ...); value as the therapy says, 1 if
                   it says nothing; duration_s how long it lasts, 0 where that is not known

    `at_s` is event time in Unix seconds. `uid` (unsigned 64 bit) identifies the fact: it breaks ties of
    equal times and seeds the random key, so that a twin is a function of the set of its facts alone and not
    of the order in which they arrived. `censored`: -1 below `value`, +1 above it, 0 measured.
    """

    at_s: float
    kind: Literal["observation", "bolus", "infusion", "rate", "meal", "covariate", "announcement"]
    name: str
    value: float
    uid: int
    duration_s: float = 0.0
    censored: int = 0
