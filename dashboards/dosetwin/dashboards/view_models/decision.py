"""The decision card: what was chosen and why, what lost, what the supervisor cut, on what evidence."""

from __future__ import annotations

from typing import Any

from dosetwin.dashboards.presentation import scale_of, shown_unit, words
from dosetwin.dashboards.view_models.orders import orders_words
from dosetwin.dashboards.view_models.words import evidence_words, number, per_cent
from dosetwin.platform.contracts import Candidate, Forecast, Refusal

OUTCOMES = {
    "command": "Left as a signed command",
    "proposal": "Waits for a person's approval",
    "shadow": "Would have left; shadow mode sends nothing",
    "refused": "Stopped by the safety supervisor",
    "none": "Nothing to change",
}
CANDIDATES = 8


def decision_card(forecast: Forecast | None) -> dict[str, Any]:
    """The newest forecast's decision, estimates and predictions, in words and numbers with units."""
    if forecast is None:
        return {"none": "No forecast yet: the twin waits for its first usable reading."}
    card: dict[str, Any] = {
        "model": forecast.model,
        "source": forecast.source,
        "at_s": forecast.at.timestamp(),
        "risks": [[words(name), per_cent(risk)] for name, risk in sorted(forecast.risks.items())],
        "attainment": per_cent(forecast.attainment),
        "estimates": [
            [
                words(name) if "_" in name else name,
                f"{number(each.median)} {shown_unit(each.unit)}",
                f"{number(each.low)}–{number(each.high)}",
            ]
            for name, each in forecast.estimates.items()
        ],
        "predictions": [_prediction(each) for each in forecast.predictions],
    }
    decision = forecast.decision
    if decision is None:
        card["none"] = "This therapy is watched only: no dose is decided."
        return card
    ranked = sorted(decision.candidates, key=lambda each: (-each.feasible, -each.utility))[:CANDIDATES]
    card |= {
        "id": decision.id,
        "decided_s": decision.at.timestamp(),
        "outcome": decision.outcome,
        "outcome_words": OUTCOMES[decision.outcome],
        "chosen": decision.chosen,
        "orders": orders_words(decision.orders),
        "reason": decision.reason[:1].upper() + decision.reason[1:],
        "would_change": decision.would_change[:1].upper() + decision.would_change[1:],
        "candidates": [_candidate(each, decision.chosen) for each in ranked],
        "candidates_total": len(decision.candidates),
        "refusals": [_refusal(each) for each in decision.refusals],
        "evidence": evidence_words(decision.evidence),
    }
    return card


def _candidate(candidate: Candidate, chosen: str) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "chosen": candidate.name == chosen,
        "orders": orders_words(candidate.orders),
        "utility": number(candidate.utility),
        "attainment": per_cent(candidate.attainment),
        "risks": ", ".join(
            f"{words(name)} {per_cent(risk)}" for name, risk in sorted(candidate.risks.items())
        ),
        "feasible": candidate.feasible,
    }


def _refusal(refusal: Refusal) -> dict[str, str]:
    unit = "" if refusal.unit == "1" else f" {shown_unit(refusal.unit)}"
    return {
        "limit": limit_words(refusal.limit),
        "effect": refusal.effect,
        "value": f"{number(refusal.value)}{unit}",
        "bound": f"{number(refusal.bound)}{unit}",
        "reason": refusal.reason,
        "source": refusal.source,
    }


def limit_words(key: str) -> str:
    """A limit's key in words: `suspend_below@heart_rate` -> `Suspend below (heart rate)`."""
    name, *scopes = key.split("@")
    scope = ", ".join(each.replace("_", " ") for each in scopes)
    return f"{words(name)} ({scope})" if scope else words(name)


def _prediction(each: Any) -> list[str]:
    unit = shown_unit(each.unit)
    inside = "inside" if each.low <= each.observed <= each.high else "outside"
    return [
        scale_of(each.quantity, each.unit).title,
        f"{number(each.observed)} {unit}",
        f"{number(each.median)} ({number(each.low)}–{number(each.high)}), {inside} the 90 % interval",
    ]
