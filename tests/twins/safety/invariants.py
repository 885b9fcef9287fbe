"""The invariants of docs/safety.md, each as a function that fails where a verdict breaks it.

They are checked against the case itself (history, limits, proposal) with the slow oracle's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isfinite

from dosetwin.platform.contracts import Order
from dosetwin.twins.safety import Verdict, review
from dosetwin.twins.therapy import Bound

from .cases import DRUGS, GUARDED, UNITS, Case
from .oracle import SECONDS, WINDOWS, oracle_of

Invariant = Callable[[Case, Verdict], None]
SLACK = Fraction(1, 10**9)
"""What rounding in floating point may add, relative and absolute."""
TIGHTER_UP = (
    *("suspend_below", "suspend_predicted", "minimum_", "contraindicated_below", "lock_out"),
    "sensor_error_below",
)


def judge(case: Case) -> Verdict:
    return review(case.orders, case.situation(), case.limits, GUARDED)


def _gives(verdict: Verdict, drug: str = "") -> list[Order]:
    return [o for o in verdict.orders if o.amount > 0 and drug in ("", o.drug)]


def _at_most(value: Fraction, bound: Fraction | None) -> None:
    assert bound is None or value <= bound + SLACK * max(Fraction(1), bound), (
        f"{float(value)} > {float(bound)}"
    )


def _speed(o: Order) -> Fraction | None:
    if o.kind == "rate":
        return Fraction(o.amount)
    return Fraction(o.amount) * 3600 / Fraction(o.duration_s) if o.duration_s else None


def only_less(case: Case, verdict: Verdict) -> None:
    """I1: every order that leaves was proposed, in that order, and is no more than was proposed."""
    rest = list(case.orders)
    for allowed in verdict.orders:
        while rest and not _lessened(allowed, rest[0]):
            rest.pop(0)
        assert rest, f"{allowed} was never proposed, or is more than was"
        rest.pop(0)


def _lessened(allowed: Order, proposed: Order) -> bool:
    fields = ("drug", "route", "kind", "unit", "duration_s", "interval_s")
    same = all(getattr(allowed, name) == getattr(proposed, name) for name in fields)
    return same and allowed.amount <= proposed.amount


def nothing_in_silence(case: Case, verdict: Verdict) -> None:
    """I2: what changed has a finding with limit, value, bound, unit, effect, reason and source; only then."""
    assert (verdict.orders == case.orders) is (not verdict.findings)
    for finding in verdict.findings:
        assert finding.limit
        assert finding.reason
        assert finding.source
        assert finding.unit
        assert isfinite(finding.value)
        assert isfinite(finding.bound)
        assert finding.effect in ("reduced", "refused")
        assert "cannot be judged" not in finding.reason, finding.reason
        if finding.limit in case.limits:
            assert finding.source == f"source of {finding.limit}"
    assert verdict.refused is (bool(case.orders) and not verdict.orders)


def rate(case: Case, verdict: Verdict) -> None:
    """I3: no rate or speed of a dose above its bounds: absolute, times basal, above what runs."""
    oracle = oracle_of(case)
    for o in _gives(verdict):
        speed = _speed(o)
        if speed is None:
            continue
        _at_most(speed, oracle.of_drug("maximum_rate", o.drug))
        if o.kind == "rate":
            basal = Fraction(case.basal_rates.get(o.drug, 0))
            times, increase = (oracle.of_drug(n, o.drug) for n in ("maximum_times_basal", "maximum_increase"))
            runs = oracle.running(o.drug)
            _at_most(speed, None if times is None else times * basal)
            _at_most(speed, None if increase is None else increase + (basal if runs is None else runs))


def dose(case: Case, verdict: Verdict) -> None:
    """I4: no dose above its bounds: of a bolus, of any dose, of a bolus that nobody announced a meal for."""
    oracle = oracle_of(case)
    for o in _gives(verdict):
        if o.kind != "rate":
            _at_most(Fraction(o.amount), oracle.of_drug("maximum_amount", o.drug))
        if o.kind == "bolus":
            _at_most(Fraction(o.amount), oracle.of_drug("maximum_bolus", o.drug))
            own = case.limits.get(f"maximum_automatic_bolus@{o.drug}")
            if own is not None and oracle.automatic():
                basal = Fraction(case.basal_rates.get(o.drug, 0))
                _at_most(Fraction(o.amount), Fraction(own.value) * SECONDS[own.unit] / 3600 * basal)


def cumulative(case: Case, verdict: Verdict) -> None:
    """I5: in every window, what was given and what the orders add is within its bound, or they add 0."""
    oracle = oracle_of(case)
    for drug in DRUGS:
        for name, hours in WINDOWS.items():
            bound, added = oracle.of_drug(name, drug), Fraction(0)
            if bound is None:
                continue
            for o in _gives(verdict, drug):
                part = (
                    min(Fraction(1), Fraction(hours * 3600) / Fraction(o.duration_s))
                    if o.duration_s
                    else Fraction(1)
                )
                added += oracle.extra(o, Fraction(o.amount)) * part
                if o.kind == "regimen":
                    _at_most(Fraction(o.amount) * hours * 3600 / Fraction(o.interval_s), bound)
            if added > SLACK:
                _at_most(oracle.given(drug, hours) + added, bound)


def on_board(case: Case, verdict: Verdict) -> None:
    """I6: what is on board and what the orders add is within the bound, or they add nothing."""
    oracle = oracle_of(case)
    for drug in DRUGS:
        bound = oracle.of_drug("maximum_on_board", drug)
        added = sum((oracle.extra(o, Fraction(o.amount)) for o in _gives(verdict, drug)), Fraction(0))
        if bound is not None and added > SLACK:
            known = case.on_board[drug]
            assert known is not None
            _at_most(max(Fraction(0), Fraction(known)) + added, bound)


def low(case: Case, verdict: Verdict) -> None:
    """I7: no drug where a quantity is, or is foreseen to be, beyond where that drug may be given."""
    oracle = oracle_of(case)
    assert not any(oracle.beyond(o.drug) for o in _gives(verdict))


def sensor(case: Case, verdict: Verdict) -> None:
    """I8: no drug on a reading that is missing, old, early, flat, noisy, suspect, a code or too close."""
    oracle, giving = oracle_of(case), _gives(verdict)
    assert not giving or not any(oracle.unreadable(quantity, giving) for quantity in oracle.quantities())


def pending(case: Case, verdict: Verdict) -> None:
    """I9: no drug while a command is neither answered nor expired; no second suspension either."""
    if case.pending is not None:
        assert not _gives(verdict)
        assert not (case.pending_suspends and verdict.orders)


def lock_out(case: Case, verdict: Verdict) -> None:
    """I10: no drug within the lock-out after a command that failed, no dose within the interval."""
    oracle = oracle_of(case)
    lock = oracle.bound("lock_out")
    if lock is not None and _gives(verdict):
        assert all(Fraction(f.ago_s) >= lock for f in case.history if f.kind == "failed")
    for o in _gives(verdict):
        interval = oracle.of_drug("minimum_interval", o.drug)
        if o.kind != "rate" and interval is not None:
            orders = [f for f in case.history if f.kind == "ordered" and f.name == o.drug]
            assert all(Fraction(f.ago_s) >= interval for f in orders)


def interaction(case: Case, verdict: Verdict) -> None:
    """I11: beside another drug above its threshold, a drug keeps to its lower bounds; joint rates add up."""
    oracle = oracle_of(case)
    threshold, joint = oracle.bound("interaction_above@beta"), oracle.bound("joint_rate")
    if threshold is not None:
        beta = max(Fraction(0), Fraction(case.on_board["beta"] or 0))
        beta += sum((oracle.extra(o, Fraction(o.amount)) for o in _gives(verdict, "beta")), Fraction(0))
        for o in _gives(verdict, "alpha"):
            if beta > threshold:
                speed = _speed(o)
                _at_most(Fraction(0) if speed is None else speed, oracle.bound("interaction_rate@alpha"))
                if o.kind == "bolus":
                    _at_most(Fraction(o.amount), oracle.bound("interaction_bolus@alpha"))
    if joint is not None and any(_speed(o) for o in _gives(verdict)):
        total, limited = Fraction(0), False
        for drug in DRUGS:
            full = oracle.of_drug("joint_full_rate", drug)
            mine = [o for o in verdict.orders if o.drug == drug]
            runs = oracle.running(drug)
            programme = Fraction(case.basal_rates.get(drug, 0)) if runs is None else runs
            speed = Fraction(0) if any(o.kind == "rate" for o in mine) else programme
            speed += sum((_speed(o) or Fraction(0) for o in mine), Fraction(0))
            if full is not None:
                limited = limited or any(_speed(o) for o in mine)
                total += speed / full
        if limited:
            _at_most(total, joint)


def contraindication(case: Case, verdict: Verdict) -> None:
    """I12: no drug whose covariates are beyond their bound, or are not known."""
    oracle, giving = oracle_of(case), _gives(verdict)
    for key in case.limits:
        if key.startswith("contraindicated") and giving:
            assert not oracle.contraindicated(key, giving)


def unknown(case: Case, verdict: Verdict) -> None:
    """I13: no drug of which a needed limit, the state, or a covariate its limits grow with is not known."""
    oracle = oracle_of(case)
    for o in _gives(verdict):
        assert o.drug in DRUGS
        need = {"rate": "maximum_rate", "bolus": "maximum_bolus"}.get(o.kind, "maximum_amount")
        assert oracle.of_drug(need, o.drug) is not None
        assert oracle.of_drug("maximum_24h", o.drug) is not None
        if oracle.of_drug("maximum_on_board", o.drug) is not None:
            assert case.on_board[o.drug] is not None
        else:
            assert o.kind != "bolus"
        assert "weight" in case.covariates or not any("/kg" in b.unit for b in case.limits.values())
        for name in ("maximum_rate", "maximum_amount", "maximum_24h"):
            found = case.limits.get(f"{name}@{o.drug}") or case.limits.get(name)
            if found is not None and (name != "maximum_amount" or o.kind != "rate") and _speed(o):
                assert UNITS[o.drug] in found.unit.split("/")
        reports = [f for f in case.history if f.kind in ("bolus", "infusion", "rate") and f.name == o.drug]
        stale = oracle.of_drug("delivery_stale_after", o.drug)
        assert stale is None or any(Fraction(f.ago_s) <= stale for f in reports)


def approval(case: Case, verdict: Verdict) -> None:
    """I14: no drug by a proposal that is too old, or much of which was given since."""
    oracle = oracle_of(case)
    if case.proposed_ago_s is not None and _gives(verdict):
        stale = oracle.bound("proposal_stale_after")
        assert stale is None or Fraction(case.proposed_ago_s) <= stale
        for o in case.orders:
            since = oracle.of_drug("maximum_given_since", o.drug)
            if since is not None and o.kind != "rate" and o.amount > 0:
                doses = [f for f in case.history if f.kind in ("bolus", "infusion") and f.name == o.drug]
                given = sum(
                    (Fraction(f.value) for f in doses if 0 <= f.ago_s < case.proposed_ago_s), Fraction(0)
                )
                assert given * 100 <= since * Fraction(o.amount)


def atomic(case: Case, verdict: Verdict) -> None:
    """I15: either every order of a command leaves, or none that gives drug."""
    assert len(verdict.orders) == len(case.orders) or not _gives(verdict)


def suspension(case: Case, verdict: Verdict) -> None:
    """I16: a suspension always passes; only the repetition of one that is pending does not."""
    if case.pending_suspends:
        return
    left = list(verdict.orders)
    for o in case.orders:
        if o.amount == 0 and o.kind in ("rate", "regimen"):
            assert o in left
            left.remove(o)


def settled(case: Case, verdict: Verdict) -> None:
    """I17: judging again what was allowed changes nothing (a share of the proposal aside)."""
    if case.proposed_ago_s is not None or not verdict.orders:
        return
    again = judge(case._replace(orders=verdict.orders))
    assert [o.kind for o in again.orders] == [o.kind for o in verdict.orders]
    for one, other in zip(verdict.orders, again.orders, strict=True):
        assert abs(one.amount - other.amount) <= 1e-9 * max(1.0, one.amount)


def monotone(case: Case, verdict: Verdict) -> None:
    """I18: of one order, never more with a stricter limit, or with more on board."""
    one = case._replace(orders=case.orders[:1])
    before = sum(o.amount for o in judge(one).orders)
    for key, bound in case.limits.items():
        if key.startswith("sensor_error_at"):
            continue
        factor = 2.0 if key.startswith(TIGHTER_UP) else 0.5
        stricter = {**case.limits, key: Bound(bound.value * factor, bound.unit, bound.source)}
        after = sum(o.amount for o in judge(one._replace(limits=stricter)).orders)
        assert after <= before * (1 + 1e-9) + 1e-9, key
    more = {drug: None if amount is None else abs(amount) + 1.0 for drug, amount in case.on_board.items()}
    after = sum(o.amount for o in judge(one._replace(on_board=more)).orders)
    assert after <= before * (1 + 1e-9) + 1e-9, "more on board"


def repeatable(case: Case, verdict: Verdict) -> None:
    """I19: a function of its arguments alone, which it leaves as they are."""
    limits = dict(case.limits)
    assert judge(case) == verdict
    assert limits == case.limits


INVARIANTS: dict[str, Invariant] = {
    "I1": only_less,
    "I2": nothing_in_silence,
    "I3": rate,
    "I4": dose,
    "I5": cumulative,
    "I6": on_board,
    "I7": low,
    "I8": sensor,
    "I9": pending,
    "I10": lock_out,
    "I11": interaction,
    "I12": contraindication,
    "I13": unknown,
    "I14": approval,
    "I15": atomic,
    "I16": suspension,
    "I17": settled,
    "I18": monotone,
    "I19": repeatable,
}
