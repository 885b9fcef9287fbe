"""What is known about a patient's insulin delivery at one moment: the rate in force, and what follows.

Immutable, so that a checkpoint keeps it by reference.
"""

from __future__ import annotations

from typing import NamedTuple


class Delivery(NamedTuple):
    """Delivery at the time `at_s` of an ensemble (NaN before the first fact).

    `rate_U_per_h` is in force since `since_s` (NaN: no pump has spoken yet, the basal programme is taken).
    `changes`: (at_s, U/h) rate changes later than `at_s`; `infusions`: (start_s, end_s, U/h) not yet over.
    """

    at_s: float
    rate_U_per_h: float
    since_s: float
    changes: tuple[tuple[float, float], ...] = ()
    infusions: tuple[tuple[float, float, float], ...] = ()


UNKNOWN = Delivery(float("nan"), float("nan"), float("nan"))


def moved_to(delivery: Delivery, at_s: float) -> Delivery:
    """The delivery as it stands at `at_s`: changes up to then are in force, ended infusions gone."""
    if not delivery.changes and not delivery.infusions:
        return Delivery(at_s, delivery.rate_U_per_h, delivery.since_s)
    rate, since = delivery.rate_U_per_h, delivery.since_s
    later = []
    for change in delivery.changes:
        if change[0] <= at_s:
            since, rate = change
        else:
            later.append(change)
    infusions = tuple(infusion for infusion in delivery.infusions if infusion[1] > at_s)
    return Delivery(at_s, rate, since, tuple(later), infusions)


def mean_rate(delivery: Delivery, start_s: float, end_s: float, basal_U_per_h: float) -> float:
    """Mean delivery over [start_s, end_s] in U/h, rate changes and infusions to the second."""
    rate = delivery.rate_U_per_h
    if rate != rate:
        rate = basal_U_per_h
    if end_s <= start_s:
        return rate
    amount, t = 0.0, start_s
    for at, changed in delivery.changes:
        if at >= end_s:
            break
        if at > t:
            amount += rate * (at - t)
            t = at
        rate = changed
    amount += rate * (end_s - t)
    for start, end, extra in delivery.infusions:
        amount += extra * max(0.0, min(end, end_s) - max(start, start_s))
    return amount / (end_s - start_s)
