"""Long-acting insulin under the skin: a day of even release, so that a dose is an infusion to the twin.

    release = dose / 24 h from the injection on

Source: Lepore et al., Diabetes 2000;49:2142, doi:10.2337/diabetes.49.12.2142: glargine in type-1 diabetes
has no peak and acts for about a day; rapid-acting insulin given evenly by pump did the same in their study.
What is released is taken to pass the same depot as rapid-acting insulin.
"""

from __future__ import annotations

LASTS_S = 86_400.0


def release_U_per_h(doses: tuple[tuple[float, float], ...], from_s: float, to_s: float) -> float:
    """Mean release over [from_s, to_s] of doses (at_s, U)."""
    given = 0.0
    for at_s, amount_U in doses:
        overlap_s = min(at_s + LASTS_S, to_s) - max(at_s, from_s)
        given += amount_U * max(overlap_s, 0.0) / LASTS_S
    return 3600.0 * given / (to_s - from_s)


def left_U(doses: tuple[tuple[float, float], ...], at_s: float) -> float:
    """What of doses (at_s, U) is still to be released."""
    return sum(
        amount_U * min(max(1.0 - (at_s - given_s) / LASTS_S, 0.0), 1.0)
        for given_s, amount_U in doses
        if given_s <= at_s
    )
