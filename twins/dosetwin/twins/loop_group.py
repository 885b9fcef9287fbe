"""The closed loop of many patients of one therapy, without a broker: assimilate, decide, supervise.

What the stream does with a patient, in the same order and with the same parts: facts go into the bank and,
where the safety supervisor must know of them, into a `Watch`; the bank appraises the candidates; the
supervisor judges what the best of them orders. `ClosedLoop` is this for one patient with units and clock
times.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Order, Refusal
from dosetwin.platform.errors import SnapshotError, TherapyError
from dosetwin.twins.bank import Appraisal, FloatArray
from dosetwin.twins.decision import AppraisalRecords, Decision, Outcome
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.safety import LimitTable, Override, Verdict, Watch, effective_limits, review
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Bound

NOTHING: frozenset[int] = frozenset()


@dataclass
class _Member:
    """One patient beside its twin; `targets` hold the limits too, so that a policy plans within them."""

    name: str
    covariates: dict[str, float]
    targets: dict[str, float]
    basal_rates: Mapping[str, float]
    watch: Watch
    overrides: list[Override] = field(default_factory=list)


class _SavedMember(msgspec.Struct, array_like=True):
    name: str
    covariates: dict[str, float]
    watch: Watch
    overrides: list[Override]


class _Saved(msgspec.Struct):
    therapy: str
    enrolled_s: float | None
    members: list[_SavedMember]
    waiting: list[tuple[str, TwinEvent]]
    bank: bytes


class LoopGroup:
    """A `Controller` (see `trials.trial`) whose decisions are the twins', past the supervisor.

    `targets` and `limits` override the therapy's by name, for every patient, in the therapy's units. `names`
    identify the patients (default: patient-0, patient-1, ...); chance comes from (seed, name) alone. Raises
    TherapyError where a covariate is missing, unknown or out of range, or where the therapy has no such
    target or limit.
    """

    def __init__(
        self,
        therapy: str,
        patients: Sequence[Patient],
        seed: int = 0,
        *,
        names: Sequence[str] | None = None,
        targets: Mapping[str, Bound] | None = None,
        limits: Mapping[str, Bound] | None = None,
    ) -> None:
        self.therapy = load_therapy(therapy)
        if self.therapy.monitoring:
            raise TherapyError(
                f"{therapy} is monitored only: it proposes no doses",
                remedy="take a therapy that closes the loop",
            )
        if not patients:
            raise TherapyError("found no patients; expected at least one")
        if names is None:
            names = [f"patient-{number}" for number in range(len(patients))]
        if len(set(names)) != len(patients):
            raise TherapyError(f"found {len(set(names))} different names for {len(patients)} patients")
        wanted = overridden("target", self.therapy.targets, targets or {})
        held = overridden("limit", self.therapy.limits, limits or {})
        self._bounds, self._limits = held, LimitTable(held)
        aims = {name: bound.value for name, bound in (held | wanted).items()}
        self._members = [
            self._member(name, patient.covariates(self.therapy), aims)
            for name, patient in zip(names, patients, strict=True)
        ]
        self._bank = self.therapy.make_bank(len(patients), seed)
        self._enrolled_s: float | None = None
        self._waiting: list[tuple[str, TwinEvent]] = []
        self.too_late: list[tuple[str, TwinEvent]] = []
        """Facts that were older than the twin can still use, since the last decision."""
        self.next_sample_s: FloatArray | None = None
        """When each patient's next level is worth taking (NaN: not at all), as of the last decision."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def model_version(self) -> str:
        """Of the twins."""
        return self._bank.model_version

    def tell(self, facts: Sequence[Sequence[TwinEvent]], suspect: Collection[int] = NOTHING) -> None:
        """Take facts, a sequence a patient, in any order.

        `suspect` are the uids of readings that their device marked so.
        """
        if len(facts) != len(self._members):
            raise TherapyError(f"found facts of {len(facts)} patients; this group has {len(self._members)}")
        observed = {quantity.name for quantity in self.therapy.observed}
        for member, news in zip(self._members, facts, strict=True):
            for fact in sorted(news, key=lambda fact: (fact.at_s, fact.uid)):
                if self._enrolled_s is None:
                    self._enrol(min(f.at_s for given in facts for f in given))
                if fact.kind == "observation" and fact.name in observed:
                    member.watch.read(fact.name, fact.value, fact.at_s, suspect=fact.uid in suspect)
                else:
                    member.watch.give(fact)
                if fact.kind == "covariate":
                    member.covariates[fact.name] = fact.value
                self._waiting.append((member.name, fact))

    def override(self, index: int, override: Override) -> Refusal | None:
        """A person moves a limit of patient `index` for a time, within the therapy's ceilings for that role.

        None where it holds, else why it does not and never will; overrides that have ended are forgotten.
        """
        tried = effective_limits(self._bounds, [override], override.from_s, self.therapy.ceilings)
        if tried.refused:
            return tried.refused[0]
        self._members[index].overrides.append(override)
        return None

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Each patient's orders at `at_s`, past the supervisor; nothing leaves the device as it is."""
        return [verdict.orders for _, verdict in self._judged(self._appraise(at_s), at_s)]

    def decisions(self, at_s: float) -> list[Decision]:
        """The same, each with its candidates, forecast, reason, evidence and refusals."""
        appraisal = self._appraise(at_s)
        records = AppraisalRecords(appraisal)
        made = []
        for index, (proposed, verdict) in enumerate(self._judged(appraisal, at_s)):
            best = int(appraisal.best[index])
            outcome: Outcome = "orders" if verdict.orders else "refused" if proposed else "none"
            made.append(
                Decision(
                    therapy=self.therapy.id,
                    model=self._bank.model_version,
                    at=instant(at_s),
                    outcome=outcome,
                    orders=verdict.orders,
                    chosen=appraisal.names(index)[best],
                    reason=appraisal.reasons[index],
                    would_change=appraisal.would_change[index],
                    candidates=records.candidates(index),
                    refusals=verdict.findings,
                    forecast=records.bands(index, float(appraisal.at_s[index])),
                    estimates=records.estimates(index),
                    risks=records.risks[index][best],
                    attainment=records.attainment[index][best],
                    evidence=records.evidence[index],
                    time_to_event_s=records.time_to_event_s(index),
                )
            )
        return made

    def save(self) -> bytes:
        """Everything but therapy, overrides and seed, which `restore` finds in the group it is called on."""
        return msgspec.msgpack.encode(
            _Saved(
                self.therapy.id,
                self._enrolled_s,
                [_SavedMember(m.name, m.covariates, m.watch, m.overrides) for m in self._members],
                self._waiting,
                self._bank.snapshot([m.name for m in self._members]) if self._enrolled_s is not None else b"",
            )
        )

    def restore(self, saved: bytes) -> None:
        """Take the state that `save` gave; the next decision is the one that it would have made.

        Raises SnapshotError where it is no such state, or of other patients, another therapy or another
        model version.
        """
        try:
            found = msgspec.msgpack.decode(saved, type=_Saved)
        except msgspec.DecodeError as error:
            raise SnapshotError(
                f"this is no saved loop: {error}", remedy="give what save() returned"
            ) from error
        names = [member.name for member in self._members]
        if found.therapy != self.therapy.id or [member.name for member in found.members] != names:
            raise SnapshotError(
                f"found a saved loop of {found.therapy} and {len(found.members)} patients; "
                f"expected {self.therapy.id} and {names[0]} ... {names[-1]}"
            )
        for member, kept in zip(self._members, found.members, strict=True):
            member.covariates, member.watch = kept.covariates, kept.watch
            member.overrides = kept.overrides
        self._enrolled_s, self._waiting = found.enrolled_s, found.waiting
        if found.enrolled_s is not None:
            self._bank.restore(found.bank)

    def _member(
        self,
        name: str,
        covariates: dict[str, float],
        aims: Mapping[str, float],
    ) -> _Member:
        rates = self.therapy.basal_rates
        return _Member(
            name,
            covariates,
            dict(aims),
            rates(covariates) if rates is not None else {},
            Watch(),
        )

    def _enrol(self, at_s: float) -> None:
        self._enrolled_s = at_s
        for member in self._members:
            self._bank.enrol(member.name, at_s=at_s, covariates=member.covariates, targets=member.targets)

    def _appraise(self, at_s: float) -> Appraisal:
        if not math.isfinite(at_s):
            raise TherapyError(f"a decision was asked for at {at_s}; expected a time")
        if self._enrolled_s is None:
            self._enrol(at_s)
        waiting, self._waiting = self._waiting, []
        assimilation = self._bank.assimilate(waiting)
        self.too_late = [waiting[index] for index in assimilation.too_late]
        appraisal = self._bank.decide([member.name for member in self._members], [at_s] * len(self._members))
        wanted_h = appraisal.evidence.get("next_sample_h")
        self.next_sample_s = None if wanted_h is None else at_s + 3600.0 * np.asarray(wanted_h)
        return appraisal

    def _limits_of(self, member: _Member, at_s: float) -> LimitTable:
        """The limits in force for one patient."""
        if not member.overrides:
            return self._limits
        member.overrides = [override for override in member.overrides if override.until_s > at_s]
        return LimitTable(
            effective_limits(self._bounds, member.overrides, at_s, self.therapy.ceilings).limits
        )

    def _judged(self, appraisal: Appraisal, at_s: float) -> list[tuple[tuple[Order, ...], Verdict]]:
        """What the best candidate orders of each patient, and the supervisor's verdict on it."""
        judged = []
        for index, member in enumerate(self._members):
            best = int(appraisal.best[index])
            orders = appraisal.orders[index][best]
            if not orders:
                judged.append((orders, Verdict((), (), refused=False)))
                continue
            situation = member.watch.situation(
                at_s,
                lowest={name: float(values[index, best]) for name, values in appraisal.lowest.items()},
                on_board={drug.name: _held(appraisal, drug.name, index) for drug in self.therapy.drugs},
                covariates=member.covariates,
                basal_rates=member.basal_rates,
            )
            verdict = review(orders, situation, self._limits_of(member, at_s), self.therapy.guarded)
            member.watch.ordered(verdict.orders, at_s)
            judged.append((orders, verdict))
        return judged


def _held(appraisal: Appraisal, drug: str, index: int) -> float | None:
    """The amount of a drug still to act; None where the bank does not say."""
    held = appraisal.on_board.get(drug)
    return None if held is None else max(0.0, float(held[index]))


def overridden(what: str, known: Mapping[str, Bound], given: Mapping[str, Bound]) -> dict[str, Bound]:
    """The therapy's bounds with those given in their place.

    Raises TherapyError where there is none to replace, or the value is no bound.
    """
    bounds = dict(known)
    for name, bound in given.items():
        if name not in known:
            raise TherapyError(
                f"{what} {name} is none of the therapy's, which has {', '.join(known) or 'none'}",
                remedy="correct the name",
            )
        if not (math.isfinite(bound.value) and bound.value >= 0):
            raise TherapyError(f"{what} {name} is {bound.value}; expected a number of at least 0")
        bounds[name] = bound
    return bounds
