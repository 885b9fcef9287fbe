"""The closed loop of one patient as a library: tell it what happened, ask it what to give.

    loop = ClosedLoop("t1d-insulin", Patient(weight_kg=70, total_daily_dose_U=40), seed=0)
    loop.observe("glucose", 142, "mg/dL", at=t)
    loop.record_dose("insulin", 2.0, "U", at=t)
    loop.announce("meal", carbohydrate_g=50, at=t)
    decision = loop.decide(at=t)

Times are zone-aware datetimes, values carry their UCUM unit and are converted once, here. docs/closed-loop.md
says what each therapy takes and gives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, cast

import msgspec

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError, SnapshotError, TherapyError
from dosetwin.platform.units import to_canonical
from dosetwin.twins.assumed_delivery import Assumed, AssumedDelivery
from dosetwin.twins.decision import Decision
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.loop_group import LoopGroup
from dosetwin.twins.patient import Patient
from dosetwin.twins.safety import Override
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Bound

SECONDS_PER_MINUTE = 60.0
TIME_UNITS = ("s", "min", "h", "d")
"""Units of time that make a dose's unit one of a rate."""
NAME = "patient"
REMEMBERED = 50_000
"""Facts that are remembered to recognise a repeat; older ones are older than any device repeats."""
FORMAT = 2


class FactError(DoseTwinError):
    """What was told cannot be taken: an unknown name, an impossible value, a time that is none."""


class _Saved(msgspec.Struct):
    format: int
    therapy: str
    covariates: dict[str, float | str | bool]
    seed: int
    targets: dict[str, tuple[float, str]]
    limits: dict[str, tuple[float, str]]
    group: bytes
    device: AssumedDelivery
    reported: list[str]
    unconfirmed: list[Order]
    decided_s: float | None
    later: list[tuple[TwinEvent, bool]]
    told: dict[str, float]


class ClosedLoop:
    """One patient's twin, policy and safety supervisor.

    `therapy` is an id such as "t1d-insulin"; `patient` holds what it needs to know (`Patient`). `targets` and
    `limits` override the therapy's by name, each a (value, unit): `limits={"maximum_bolus": (5, "U")}`. The
    same calls with the same `seed` give the same decisions.

    **What was given.** Call `record_dose` for what was really delivered: that alone counts, whatever was
    ordered. For a drug of which no delivery was ever recorded, orders are taken as carried out exactly, and
    after them the device's own programme (the basal rate of an insulin pump, nothing otherwise).

    Raises TherapyError where covariates, targets or limits do not fit the therapy.
    """

    def __init__(
        self,
        therapy: str,
        patient: Patient,
        seed: int = 0,
        *,
        targets: Mapping[str, tuple[float, str]] | None = None,
        limits: Mapping[str, tuple[float, str]] | None = None,
    ) -> None:
        self.therapy = load_therapy(therapy)
        self.patient = patient
        self.seed = seed
        self._targets, self._limits = dict(targets or {}), dict(limits or {})
        self._group = LoopGroup(
            therapy,
            [patient],
            seed,
            names=[NAME],
            targets=_bounds("target", self._targets, self.therapy.targets),
            limits=_bounds("limit", self._limits, self.therapy.limits),
        )
        self._covariates = patient.covariates(self.therapy)
        rates = self.therapy.basal_rates
        self._device = AssumedDelivery(dict(rates(self._covariates)) if rates is not None else {})
        self._reported: set[str] = set()
        self._unconfirmed: tuple[Order, ...] = ()
        self._decided_s: float | None = None
        self._later: list[tuple[TwinEvent, bool]] = []
        """Told and not yet given to the twin, each with whether its device doubts it."""
        self._told: dict[str, float] = {}

    def observe(
        self,
        quantity: str,
        value: float,
        unit: str,
        *,
        at: datetime,
        censored: Literal["below", "above"] | None = None,
        suspect: bool = False,
    ) -> None:
        """Tell a reading, a laboratory value or a covariate measured again; at any time, in any order.

        `censored`: the true value is below (above) `value`, a limit of the sensor or assay. `suspect`: its
        device doubts it. Raises FactError for an unknown quantity or an impossible value, UnitError for its
        unit.
        """
        at_s = _seconds(at)
        known = {q.name: q for q in self.therapy.observed}
        needs = {need.name: need for need in self.therapy.covariates}
        found = known.get(quantity) or needs.get(quantity)
        if found is None:
            raise FactError(
                f"{self.therapy.id} observes no {quantity!r}; it takes {', '.join(known)}, and of covariates "
                f"{', '.join(needs)}",
                remedy="correct the name, or leave the reading out",
            )
        number = to_canonical(quantity, _finite(quantity, value), unit, found.unit)
        if not found.low <= number <= found.high:
            raise FactError(
                f"{quantity} is {value:g} {unit}; possible is {found.low:g} to {found.high:g} {found.unit}",
                remedy="leave out error codes; beyond a sensor's range give that range and `censored`",
            )
        kind = "observation" if quantity in known else "covariate"
        side = {None: 0, "below": -1, "above": 1}[censored]
        key = f"{kind}|{quantity}|{at_s!r}"
        before = self._told.get(key)
        if before is not None:
            if before != number:
                raise FactError(
                    f"{quantity} at {at.isoformat()} was told as {before:g} {found.unit}, now as {number:g}",
                    remedy="tell one value for one moment",
                )
            return
        self._told[key] = number
        uid = _uid(key)
        fact = TwinEvent(at_s, cast(Any, kind), quantity, number, uid, 0.0, side)
        self._tell(fact, suspect=suspect)

    def record_dose(
        self, drug: str, amount: float, unit: str, *, at: datetime, duration_min: float = 0.0
    ) -> None:
        """Tell what was really delivered.

        A unit of amount ("U", "mg") is a bolus at `at`, or with `duration_min` an infusion from `at` on. A
        unit of rate ("U/h", "mg/h", "ug/kg/min") is what the pump runs at from `at` until the next rate is
        told, or for `duration_min` and then its own programme (an insulin pump's basal rate, otherwise
        nothing). Raises FactError for an unknown drug or an impossible amount.
        """
        at_s = _seconds(at)
        found = next((each for each in self.therapy.drugs if each.name == drug), None)
        if found is None:
            raise FactError(
                f"no drug {drug!r} in {self.therapy.id}, which has "
                f"{', '.join(each.name for each in self.therapy.drugs)}",
                remedy="correct the name",
            )
        number, duration_s = _finite(drug, amount), _finite("duration_min", duration_min) * SECONDS_PER_MINUTE
        if number < 0 or duration_s < 0:
            raise FactError(f"{amount:g} {unit} of {drug} over {duration_min:g} min; expected at least 0")
        head, *per = unit.split("/")
        if "kg" in per:
            per.remove("kg")
            number *= self._weight_kg(unit)
        plain = "/".join([head, *per])
        rate = bool(per) and per[-1] in TIME_UNITS
        number = to_canonical(drug, number, plain, f"{found.unit}/h" if rate else found.unit)
        if number > found.maximum_amount * (60.0 if rate else 1.0):
            raise FactError(
                f"{amount:g} {unit} of {drug}; possible is up to {found.maximum_amount:g} {found.unit}",
                remedy="check the unit",
            )
        self._reported.add(drug)
        kind = "rate" if rate else "infusion" if duration_s > 0 else "bolus"
        self._tell(self._dose(Assumed(at_s, kind, drug, number, 0.0 if rate else duration_s)))
        if rate and duration_s > 0:
            after = self._device.programmed.get(drug, 0.0)
            self._tell(self._dose(Assumed(at_s + duration_s, "rate", drug, after)))

    def announce(self, what: str, *, at: datetime, duration_min: float = 0.0, **amount: float) -> None:
        """Tell what somebody says will happen or is happening: a meal, exercise, a stimulus.

        The amount is one keyword: `carbohydrate_g` of a meal, otherwise as the therapy says (`intensity`).
        What is announced for later than the next decision is held back until then. Raises FactError for what
        the therapy does not know.
        """
        at_s = _seconds(at)
        known = self.therapy.announcements
        if what not in known:
            raise FactError(
                f"{self.therapy.id} knows no announcement {what!r}; it knows {', '.join(known) or 'none'}",
                remedy="leave it out",
            )
        if len(amount) > 1:
            raise FactError(f"found {', '.join(amount)} of one {what}; expected at most one: {known[what]}")
        if what == "meal" and set(amount) != {"carbohydrate_g"}:
            raise FactError(
                f"a meal was announced with {', '.join(amount) or 'no amount'}; expected carbohydrate_g",
                remedy="give carbohydrate_g=..., an estimate will do",
            )
        number = _finite(what, next(iter(amount.values()), 1.0))
        duration_s = _finite("duration_min", duration_min) * SECONDS_PER_MINUTE
        if number < 0 or duration_s < 0:
            raise FactError(f"{what} of {number:g} over {duration_min:g} min; expected at least 0")
        key = self._numbered(f"announcement|{what}|{at_s!r}|{number!r}")
        name, kind = ("carbohydrate", "meal") if what == "meal" else (what, "announcement")
        self._tell(TwinEvent(at_s, cast(Any, kind), name, number, _uid(key), duration_s))

    def override(
        self,
        limit: str,
        value: float,
        unit: str,
        *,
        role: str,
        person: str,
        reason: str,
        start: datetime,
        until: datetime,
    ) -> None:
        """A person in a `role` moves a limit of the supervisor from `start` until just before `until`.

        How far and for how long a role may move which limit is the therapy's (`Therapy.ceilings`); of several
        in force the strictest holds. Policies go on planning with the limit itself. Raises FactError where it
        may not be done; then the limit stands.
        """
        bound = self.therapy.limits.get(limit)
        canonical = bound.unit if bound is not None else unit
        number = to_canonical(limit.rpartition("@")[2] or limit, _finite(limit, value), unit, canonical)
        asked = Override(limit, number, canonical, person, role, _seconds(start), _seconds(until), reason)
        refusal = self._group.override(0, asked)
        if refusal is not None:
            raise FactError(f"the override does not hold: {refusal.reason}", remedy="the limit stands")

    def decide(self, *, at: datetime) -> Decision:
        """What to give now, past the safety supervisor.

        Raises FactError where `at` is before the last decision.
        """
        at_s = _seconds(at)
        if self._decided_s is not None and at_s < self._decided_s:
            raise FactError(
                f"a decision was asked for at {at.isoformat()}, before the last one at "
                f"{instant(self._decided_s).isoformat()}",
                remedy="ask in the order of time; late readings may be told at any time",
            )
        self._assume(at_s)
        due = [fact for fact, _ in self._later if fact.at_s <= at_s]
        doubted = {fact.uid for fact, suspect in self._later if suspect}
        self._later = [(fact, suspect) for fact, suspect in self._later if fact.at_s > at_s]
        self._group.tell([due], doubted)
        (decision,) = self._group.decisions(at_s)
        if len(self._told) > REMEMBERED:
            self._told = dict(list(self._told.items())[REMEMBERED // 2 :])
        self._unconfirmed, self._decided_s = decision.orders, at_s
        return decision

    @property
    def too_late(self) -> tuple[TwinEvent, ...]:
        """What was told since the decision before the last one and was older than the twin can still use."""
        return tuple(fact for _, fact in self._group.too_late)

    def save(self) -> bytes:
        """Everything, for `load`."""
        return msgspec.msgpack.encode(
            _Saved(
                FORMAT,
                self.therapy.id,
                self.patient.given,
                self.seed,
                self._targets,
                self._limits,
                self._group.save(),
                self._device,
                sorted(self._reported),
                list(self._unconfirmed),
                self._decided_s,
                self._later,
                self._told,
            )
        )

    @classmethod
    def load(cls, saved: bytes) -> ClosedLoop:
        """The loop that `save` was called on; it goes on as if nothing had happened. Raises SnapshotError."""
        try:
            found = msgspec.msgpack.decode(saved, type=_Saved)
        except msgspec.DecodeError as error:
            raise SnapshotError(f"no saved loop: {error}", remedy="give what save() returned") from error
        if found.format != FORMAT:
            raise SnapshotError(f"a saved loop of format {found.format}; this version reads {FORMAT}")
        loop = cls(
            found.therapy,
            Patient(**found.covariates),
            found.seed,
            targets=found.targets,
            limits=found.limits,
        )
        loop._group.restore(found.group)
        loop._device, loop._reported = found.device, set(found.reported)
        loop._unconfirmed, loop._decided_s = tuple(found.unconfirmed), found.decided_s
        loop._later, loop._told = found.later, found.told
        return loop

    def _tell(self, fact: TwinEvent, *, suspect: bool = False) -> None:
        self._later.append((fact, suspect))

    def _assume(self, at_s: float) -> None:
        """Carry out what was ordered of drugs that nobody reports on, and what follows until `at_s`."""
        silent = [drug.name for drug in self.therapy.drugs if drug.name not in self._reported]
        begun: list[Assumed] = []
        if self._decided_s is not None:
            orders = [order for order in self._unconfirmed if order.drug in silent]
            # what ended or began by itself before these orders came was told when they were decided
            begun += self._device.carry_out(orders, self._decided_s)
        begun += self._device.go_on(at_s, silent)
        self._unconfirmed = ()
        for each in begun:
            self._tell(self._dose(each))

    def _dose(self, given: Assumed) -> TwinEvent:
        key = self._numbered(f"{given.kind}|{given.drug}|{given.at_s!r}|{given.value!r}")
        return TwinEvent(
            given.at_s, cast(Any, given.kind), given.drug, given.value, _uid(key), given.duration_s
        )

    def _numbered(self, key: str) -> str:
        """The key with a number that tells it from equal ones: two equal boluses at one moment are two."""
        count = self._told.get(key, 0.0)
        self._told[key] = count + 1.0
        return f"{key}|{count:g}"

    def _weight_kg(self, unit: str) -> float:
        weight = self._covariates.get("weight")
        if weight is None:
            raise FactError(
                f"{unit} is per kilogram and {self.therapy.id} knows no weight",
                remedy="give the absolute amount",
            )
        return weight


def _bounds(
    what: str, given: Mapping[str, tuple[float, str]], known: Mapping[str, Bound]
) -> dict[str, Bound]:
    bounds = {}
    for name, (value, unit) in given.items():
        if name not in known:
            raise TherapyError(
                f"{what} {name} is none of the therapy's, which has {', '.join(known) or 'none'}",
                remedy="correct the name",
            )
        scope = name.rpartition("@")[2] or name
        canonical = known[name].unit
        bounds[name] = Bound(to_canonical(scope, value, unit, canonical), canonical, f"{what} of the caller")
    return bounds


def _seconds(at: datetime) -> float:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise FactError(
            f"a time is {at!r}; expected a datetime with a time zone",
            remedy="make it with datetime(..., tzinfo=UTC) or datetime.now(UTC)",
        )
    return at.timestamp()


def _finite(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise FactError(f"{name} is {value}; expected a number", remedy="leave out what was not measured")
    return number


def _uid(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
