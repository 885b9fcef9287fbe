"""Random histories, adversarial proposals and random limits, for the supervisor's properties.

Numbers lie on a binary grid and times on multiples of 450 s, so that sums in floating point are exact and the
slow oracle, which works in fractions, may be held to the same side of every bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.safety import Situation, Watch
from dosetwin.twins.therapy import Bound

NOW = 1_760_000_400.0  # a multiple of 450 s
GUARDED = "glucose"
UNITS = {"alpha": "U", "beta": "ug", "gamma": "mg"}
"""`gamma` is no drug of the therapy: whoever orders it is an adversary."""
DRUGS = ("alpha", "beta")
QUANTITIES = ("glucose", "pressure")


class Fact(NamedTuple):
    """One thing that happened: kind, name, `ago_s` before now, value, and duration or suspicion."""

    kind: str
    name: str
    ago_s: float
    value: float
    more: float = 0.0


class Case(NamedTuple):
    """A patient's history, what is known beside it, the limits, and what is proposed."""

    history: tuple[Fact, ...]
    orders: tuple[Order, ...]
    limits: dict[str, Bound]
    lowest: dict[str, float]
    on_board: dict[str, float | None]
    basal_rates: dict[str, float]
    covariates: dict[str, float]
    pending: str | None
    pending_suspends: bool
    proposed_ago_s: float | None

    def watch(self) -> Watch:
        """What the product remembers of the history: readings as they came, deliveries in any order."""
        watch = Watch()
        for fact in sorted(self.history, key=lambda fact: (fact.kind != "reading", -fact.ago_s)):
            at_s = NOW - fact.ago_s
            if fact.kind == "reading":
                watch.read(fact.name, fact.value, at_s, suspect=fact.more > 0)
        for uid, fact in enumerate(self.history):
            at_s = NOW - fact.ago_s
            if fact.kind in ("bolus", "infusion", "rate", "meal", "covariate"):
                watch.give(TwinEvent(at_s, fact.kind, fact.name, fact.value, uid, fact.more))  # type: ignore[arg-type]
            elif fact.kind == "ordered":
                order = Order(drug=fact.name, route="r", kind="bolus", amount=1.0, unit=UNITS[fact.name])
                watch.ordered((order,), at_s)
            elif fact.kind == "failed":
                watch.failed(at_s)
        return watch

    def situation(self) -> Situation:
        """What the product tells the supervisor."""
        return self.watch().situation(
            NOW,
            lowest=self.lowest,
            on_board=self.on_board,
            covariates=self.covariates,
            basal_rates=self.basal_rates,
            pending_command=self.pending,
            pending_suspends=self.pending_suspends,
            proposed_s=None if self.proposed_ago_s is None else NOW - self.proposed_ago_s,
        )


SPANS_S = (450.0, 900.0, 1800.0, 3600.0, 7200.0, 28_800.0, 115_200.0)
DOSES = (0.0, 0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 20.0, 40.0, 1e6)
BYTES = 224
"""How many choices a case takes at most; those beyond the last byte take the first, calm, option."""


class Choices:
    """A case is built from bytes: one byte a choice, the calm option at 0, so that it shrinks to calm."""

    def __init__(self, data: bytes) -> None:
        self.data, self.next = data, 0

    def byte(self) -> int:
        found = self.data[self.next] if self.next < len(self.data) else 0
        self.next += 1
        return found

    def of(self, *options: Any) -> Any:
        return options[self.byte() % len(options)]

    def seldom(self, usual: Any, *others: Any) -> Any:
        """The usual, but one of the others in about one of 24."""
        found = self.byte()
        return usual if found < 246 else others[found % len(others)]


def _order(choose: Choices) -> Order:
    kind = choose.of("rate", "bolus", "infusion", "regimen")
    drug = choose.seldom(choose.of("alpha", "alpha", "beta"), "gamma")
    unit = UNITS[drug]
    return Order(
        drug=drug,
        route="r",
        kind=kind,
        amount=choose.of(*DOSES),
        unit=f"{unit}/h" if kind == "rate" else unit,
        duration_s=0.0 if kind == "bolus" else choose.of(*SPANS_S),
        interval_s=choose.of(*SPANS_S[::-1]) if kind == "regimen" else 0.0,
    )


def _readings(choose: Choices, quantity: str) -> list[Fact]:
    """A run of readings every `step_s`: calm, flat, jumping or low; the newest may be old or suspect."""
    count = choose.of(9, 9, 9, 9, 6, 3, 2, choose.of(1, 0))
    step_s = choose.of(450.0, 450.0, 450.0, 900.0, choose.of(450.0, 7.03125))
    newest_s = choose.seldom(choose.of(0.0, 0.0, 450.0, -300.0), 900.0, 1800.0, -450.0)
    shape = choose.of("calm", "calm", "calm", "flat", "jumping")
    level = choose.seldom(choose.of(120.0, 110.0, 140.0, 70.0), 69.875, 61.0, 38.0, 9.0, 250.0)
    suspect = choose.seldom(0.0, 1.0)
    facts = []
    for number in range(count):
        value = level
        if number and shape == "calm":
            value = level + 2.0 * number
        elif number and shape == "jumping":
            value = level + choose.of(0.0, 8.0, 20.0, 40.0)
        facts.append(Fact("reading", quantity, newest_s + number * step_s, value, 0.0 if number else suspect))
    return facts


def _delivery(choose: Choices) -> Fact:
    kind = choose.of("bolus", "infusion", "rate")
    ago_s = 450.0 * choose.of(*range(0, 240, 7))
    more = choose.of(*SPANS_S) if kind == "infusion" else 0.0
    return Fact(kind, choose.of(*DRUGS), ago_s, choose.of(*DOSES[:13]), more)


def _other_fact(choose: Choices) -> Fact:
    kind = choose.of("ordered", "failed", "meal", "covariate")
    name = {"covariate": "creatinine", "meal": "carbohydrate", "failed": ""}.get(kind) or choose.of(*DRUGS)
    return Fact(kind, name, choose.of(900.0, 1350.0, 7200.0, 450.0, 0.0), choose.of(0.5, 1.0, 2.0, 3.0))


_ALPHA = {
    "maximum_rate": ("U/h", (5.0, 2.0, 5.0, 10.0, 0.0)),
    "maximum_bolus": ("U", (10.0, 4.0, 10.0, 20.0, 0.0)),
    "maximum_amount": ("U", (20.0, 3.0)),
    "maximum_on_board": ("U", (32.0, 20.0, 7.0, 40.0, 0.0)),
    "maximum_24h": ("U/d", (160.0, 40.0)),
}
_BETA = {
    "maximum_rate@beta": ("ug/kg/h", (0.0625, 0.25)),
    "maximum_bolus@beta": ("ug/kg", (0.0625, 0.125)),
    "maximum_amount@beta": ("ug", (2.0, 20.0)),
    "maximum_on_board@beta": ("ug", (4.0, 30.0)),
    "maximum_24h@beta": ("ug", (60.0, 200.0)),
}
_OPTIONAL = {
    "maximum_1h@alpha": ("U", (2.0, 10.0)),
    "maximum_4h@alpha": ("U", (8.0, 20.0)),
    "maximum_times_basal@alpha": ("1", (2.0, 4.0)),
    "maximum_increase@beta": ("ug/min", (0.03125,)),
    "maximum_automatic_bolus@alpha": ("min", (30.0, 60.0)),
    "minimum_interval": ("min", (7.5, 22.5)),
    "delivery_stale_after@alpha": ("h", (2.0,)),
    "maximum_given_since": ("%", (20.0,)),
    "interaction_above@beta": ("ug", (2.0, 8.0)),
    "interaction_bolus@alpha": ("U", (1.0,)),
    "interaction_rate@alpha": ("U/h", (0.5,)),
    "joint_rate": ("1", (1.0, 1.5)),
    "joint_full_rate@alpha": ("U/h", (4.0,)),
    "joint_full_rate@beta": ("ug/h", (8.0,)),
    "suspend_below": ("mg/dL", (70.0,)),
    "suspend_below@pressure@beta": ("mm[Hg]", (65.0,)),
    "suspend_above@pressure": ("mm[Hg]", (200.0,)),
    "suspend_predicted_below": ("mg/dL", (60.0,)),
    "suspend_predicted_below@pressure": ("mm[Hg]", (50.0,)),
    "stale_after": ("min", (15.0,)),
    "stale_after@pressure": ("s", (450.0,)),
    "flat_after": ("h", (0.5,)),
    "noise_above": ("mg/dL", (4.9,)),
    "unsteady_above": ("%", (20.0,)),
    "minimum_spacing": ("s", (20.0,)),
    "sensor_error_at": ("mg/dL", (38.0,)),
    "sensor_error_below": ("mg/dL", (10.0,)),
    "contraindicated_above@creatinine@alpha": ("mg/dL", (2.0,)),
    "contraindicated_below@weight": ("kg", (20.0,)),
    "lock_out": ("min", (10.0,)),
    "proposal_stale_after": ("min", (10.0,)),
    "maximum_auc24": ("mg.h/L", (700.0,)),
}
_TOGETHER = (
    ("interaction_above@beta", "interaction_bolus@alpha", "interaction_rate@alpha"),
    ("joint_rate", "joint_full_rate@alpha", "joint_full_rate@beta"),
    ("maximum_given_since", "proposal_stale_after"),
    ("unsteady_above", "maximum_automatic_bolus@alpha"),
)
"""Limits that say something only beside one another."""
_NEEDED = {**_ALPHA, **_BETA}
_EVERY = {**_NEEDED, **_OPTIONAL}


def _limit_set(choose: Choices) -> dict[str, Bound]:
    chosen = set(_NEEDED)
    for _ in range(choose.of(*range(10))):
        chosen.update(choose.of(*_TOGETHER, *((key,) for key in _OPTIONAL)))
    chosen.discard(choose.seldom("", *_NEEDED))
    found = {}
    for key in sorted(chosen):
        unit, values = _EVERY[key]
        found[key] = Bound(values[0] if len(values) == 1 else choose.of(*values), unit, f"source of {key}")
    return found


def build(data: bytes) -> Case:
    """Mostly situations in which something passes: an adversary who is always refused proves nothing."""
    choose = Choices(data)
    proposal = tuple(_order(choose) for _ in range(choose.of(1, 1, 2, 2, 3)))
    limits = _limit_set(choose)
    pending = choose.seldom(None, "c-1")
    lowest = {
        "glucose": choose.seldom(choose.of(100.0, 60.0), 59.875, -4.0, None),
        "pressure": choose.seldom(choose.of(80.0, 50.0), 49.5, None),
    }
    on_board = {drug: choose.seldom(choose.of(0.0, 0.5, 2.0, 6.5, -1e-12), None) for drug in DRUGS}
    basal_rates = {drug: choose.of(0.75, 2.0, 0.0, 0.75, None) for drug in DRUGS}
    covariates = {"weight": choose.seldom(64.0, 16.0, None), "creatinine": choose.seldom(1.0, 2.5, None)}
    history: list[Fact] = []
    for quantity in QUANTITIES:
        history += _readings(choose, quantity)
    history += [_delivery(choose) for _ in range(choose.of(*range(7)))]
    history += [_other_fact(choose) for _ in range(choose.of(0, 0, 1, 2))]
    return Case(
        history=tuple(history),
        orders=proposal,
        limits=limits,
        lowest=_known(lowest),
        on_board=on_board,
        basal_rates=_known(basal_rates),
        covariates=_known(covariates),
        pending=pending,
        pending_suspends=pending is not None and choose.of(False, True),
        proposed_ago_s=choose.of(None, None, None, None, 450.0, choose.of(450.0, 900.0, -450.0)),
    )


cases = st.binary(min_size=BYTES, max_size=BYTES).map(build)


def _known(values: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
