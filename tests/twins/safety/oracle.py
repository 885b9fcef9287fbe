"""The supervisor said again, slowly, from the history itself: may this amount leave? If not, bisect.

Shares no code and no algebra with the product: windows are summed fact by fact, limits are looked up by
spelling out their keys, room is found by bisection, all in exact fractions.
"""

from __future__ import annotations

from fractions import Fraction

from dosetwin.platform.contracts import Order

from .cases import DRUGS, GUARDED, QUANTITIES, UNITS, Case, Fact

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
HALVINGS = 80
WINDOWS = {"maximum_1h": 1, "maximum_4h": 4, "maximum_24h": 24}

Left = list[tuple[int, Fraction]]
"""What may leave: (index in the proposal, amount)."""


def expected(case: Case) -> Left:
    return oracle_of(case).verdict()


_asked: list[Oracle] = []


def oracle_of(case: Case) -> Oracle:
    """The oracle of a case; the last one is kept, as every invariant asks it."""
    if not _asked or _asked[0].case is not case:
        _asked[:] = [Oracle(case)]
    return _asked[0]


class OtherUnitError(Exception):
    """A limit is in another unit than the drug it would be held against."""


class Oracle:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.kept: dict[tuple[str, int], Fraction] = {}
        covariates = {name: Fraction(value) for name, value in case.covariates.items()}
        newest: dict[str, Fact] = {}
        for fact in case.history:
            if fact.kind == "covariate" and (
                fact.name not in newest or fact.ago_s <= newest[fact.name].ago_s
            ):
                newest[fact.name] = fact
        self.covariates = covariates | {name: Fraction(fact.value) for name, fact in newest.items()}

    # --- limits ---------------------------------------------------------------------------------------

    def bound(self, *keys: str) -> Fraction | None:
        """The bound of the first key that is set: times in s, rates per h, for this patient's weight."""
        for key in keys:
            if key in self.case.limits:
                found = self.case.limits[key]
                value = Fraction(found.value)
                if found.unit in SECONDS and "automatic" not in key:
                    return value * SECONDS[found.unit]
                if "/kg" in found.unit:
                    value *= self.covariates["weight"]
                return value * 60 if found.unit.endswith("/min") else value
        return None

    def of_drug(self, name: str, drug: str) -> Fraction | None:
        return self.bound(f"{name}@{drug}", name)

    def check_unit(self, name: str, drug: str) -> None:
        """A limit that is set for every drug, in the unit of one, cannot be held to by another."""
        found = self.case.limits.get(f"{name}@{drug}") or self.case.limits[name]
        if UNITS[drug] not in found.unit.split("/"):
            raise OtherUnitError

    def of_reading(self, name: str, quantity: str, drug: str = "") -> Fraction | None:
        keys = [f"{name}@{quantity}@{drug}", f"{name}@{quantity}"]
        return self.bound(*keys, *([name] if quantity == GUARDED else []))

    def quantities(self) -> list[str]:
        return [q for q in QUANTITIES if q == GUARDED or any(f"@{q}" in key for key in self.case.limits)]

    # --- history --------------------------------------------------------------------------------------

    def course(self, quantity: str) -> list[Fact]:
        """Readings, newest first."""
        return sorted(
            (f for f in self.case.history if f.kind == "reading" and f.name == quantity),
            key=lambda f: f.ago_s,
        )

    def value(self, quantity: str) -> Fraction | None:
        """The newest measurement; a sensor's code is none."""
        course = self.course(quantity)
        if not course or self.is_code(quantity, Fraction(course[0].value)):
            return None
        return Fraction(course[0].value)

    def is_code(self, quantity: str, value: Fraction) -> bool:
        at, below = (self.of_reading(f"sensor_error_{where}", quantity) for where in ("at", "below"))
        return value == at or (below is not None and value <= below)

    def given(self, drug: str, hours: int) -> Fraction:
        """Each fact's overlap with the window; asked once for each halving, so kept."""
        if (drug, hours) not in self.kept:
            self.kept[drug, hours] = self.added_up(drug, hours)
        return self.kept[drug, hours]

    def added_up(self, drug: str, hours: int) -> Fraction:
        begin, total = Fraction(hours * 3600), Fraction(0)
        rates = []
        for fact in self.case.history:
            if fact.name != drug or fact.ago_s < 0:
                continue
            ago = Fraction(fact.ago_s)
            if fact.kind == "bolus" and ago <= begin:
                total += Fraction(fact.value)
            elif fact.kind == "infusion":
                before_the_window = max(Fraction(0), ago - begin)
                total += Fraction(fact.value) * max(Fraction(0), 1 - before_the_window / Fraction(fact.more))
            elif fact.kind == "rate":
                rates.append(fact)
        rates.sort(key=lambda f: (-f.ago_s, f.value))
        ends = [Fraction(f.ago_s) for f in rates[1:]] + [Fraction(0)]
        for fact, end in zip(rates, ends, strict=False):
            total += Fraction(fact.value) * max(Fraction(0), min(Fraction(fact.ago_s), begin) - end) / 3600
        return total

    def running(self, drug: str) -> Fraction | None:
        rates = [f for f in self.case.history if f.kind == "rate" and f.name == drug]
        return Fraction(min(rates, key=lambda f: (f.ago_s, -f.value)).value) if rates else None

    # --- verdict --------------------------------------------------------------------------------------

    def verdict(self) -> Left:
        case = self.case
        amounts = [Fraction(o.amount) for o in case.orders]
        fallen = set()
        for index, order in enumerate(case.orders):
            if amounts[index] > 0 and self.beyond(order.drug):
                if order.kind == "rate":
                    amounts[index] = Fraction(0)
                else:
                    fallen.add(index)
        suspensions = {
            i
            for i, o in enumerate(case.orders)
            if i not in fallen and amounts[i] == 0 and o.kind in ("rate", "regimen")
        }
        giving = [i for i in range(len(amounts)) if i not in fallen and amounts[i] > 0]
        if giving:
            if fallen or self.forbidden(giving):
                fallen |= set(range(len(amounts))) - suspensions
            else:
                for index in giving:
                    try:
                        amounts[index] = self.most(index, amounts, giving)
                    except OtherUnitError:
                        fallen |= set(range(len(amounts))) - suspensions
                        break
                    if amounts[index] == 0 and case.orders[index].kind != "rate":
                        fallen |= set(range(len(amounts))) - suspensions
                        break
        elif fallen:
            fallen |= set(range(len(amounts))) - suspensions
        left = [(i, amounts[i]) for i in range(len(amounts)) if i not in fallen]
        if case.pending and case.pending_suspends and all(amount == 0 for _, amount in left):
            return []
        return left

    def beyond(self, drug: str) -> bool:
        """Where no drug may be given: too low, foreseen too low, too high."""
        for quantity in self.quantities():
            value, lowest = self.value(quantity), self.case.lowest.get(quantity)
            below = self.of_reading("suspend_below", quantity, drug)
            above = self.of_reading("suspend_above", quantity, drug)
            foreseen = self.of_reading("suspend_predicted_below", quantity, drug)
            if value is not None and ((below or 0) > value or (above is not None and value > above)):
                return True
            if lowest is not None and foreseen is not None and Fraction(lowest) < foreseen:
                return True
        return False

    def forbidden(self, giving: list[int]) -> bool:
        case = self.case
        orders = [case.orders[i] for i in giving]
        if case.pending is not None:
            return True
        if any("/kg" in b.unit for b in case.limits.values()) and not self.covariates.get("weight"):
            return True
        failures = [Fraction(f.ago_s) for f in case.history if f.kind == "failed"]
        lock = self.bound("lock_out")
        if failures and lock is not None and min(failures) < lock:
            return True
        if case.proposed_ago_s is not None:
            stale = self.bound("proposal_stale_after")
            if case.proposed_ago_s < -300 or (stale is not None and Fraction(case.proposed_ago_s) > stale):
                return True
        if any(self.unreadable(quantity, orders) for quantity in self.quantities()):
            return True
        if any(self.contraindicated(key, orders) for key in case.limits if key.startswith("contra")):
            return True
        return any(self.forbidden_drug(order) for order in orders)

    def unreadable(self, quantity: str, orders: list[Order]) -> bool:
        course = self.course(quantity)
        stale, flat = (self.of_reading(n, quantity) for n in ("stale_after", "flat_after"))
        if not course:
            if any(
                self.of_reading(n, quantity) is not None
                for n in ("stale_after", "suspend_below", "suspend_above")
            ):
                return True
        else:
            newest = course[0]
            if newest.more or newest.ago_s < -300 or self.is_code(quantity, Fraction(newest.value)):
                return True
            if stale is not None and Fraction(newest.ago_s) > stale:
                return True
            equal = newest
            for older in course[1:]:
                if older.value != equal.value:
                    break
                equal = older
            if flat is not None and Fraction(equal.ago_s) - Fraction(newest.ago_s) > flat:
                return True
            variance, noisy = self.variance(course), self.of_reading("noise_above", quantity)
            if noisy is not None and variance is not None and variance > noisy**2:
                return True
            spacing = self.of_reading("minimum_spacing", quantity)
            if spacing is not None and len(course) > 1 and Fraction(course[1].ago_s - newest.ago_s) < spacing:
                return True
            jump = self.of_reading("unsteady_above", quantity)
            if jump is not None and any(o.kind == "bolus" for o in orders) and self.automatic():
                if len(course) == 1:
                    return True
                if abs(Fraction(newest.value) - Fraction(course[1].value)) > jump / 100 * Fraction(
                    newest.value
                ):
                    return True
        if quantity not in self.case.lowest:
            return any(
                self.of_reading("suspend_predicted_below", quantity, o.drug) is not None for o in orders
            )
        return False

    def variance(self, course: list[Fact]) -> Fraction | None:
        """Of the noise, from each reading against the line through its neighbours."""
        found = []
        for later, middle, earlier in zip(course, course[1:], course[2:], strict=False):
            right = Fraction(middle.ago_s) - Fraction(later.ago_s)
            left = Fraction(earlier.ago_s) - Fraction(middle.ago_s)
            if left <= 0 or right <= 0 or not Fraction(1, 3) <= left / right <= 3:
                continue
            slope = (Fraction(later.value) - Fraction(earlier.value)) / (left + right)
            off = Fraction(middle.value) - (Fraction(earlier.value) + slope * left)
            found.append(off**2 / (1 + (left / (left + right)) ** 2 + (right / (left + right)) ** 2))
        found = found[:12]
        return sum(found, Fraction(0)) / len(found) if len(found) >= 4 else None

    def contraindicated(self, key: str, orders: list[Order]) -> bool:
        name, covariate, *drug = key.split("@")
        if drug and not any(o.drug == drug[0] for o in orders):
            return False
        value, bound = self.covariates.get(covariate), Fraction(self.case.limits[key].value)
        return value is None or (value > bound if name.endswith("above") else value < bound)

    def automatic(self) -> bool:
        meals = [f.ago_s for f in self.case.history if f.kind == "meal"]
        return not meals or abs(min(meals)) > 3600

    def forbidden_drug(self, o: Order) -> bool:
        case = self.case
        if o.drug not in DRUGS:
            return True
        need = {"rate": "maximum_rate", "bolus": "maximum_bolus"}.get(o.kind, "maximum_amount")
        if any(self.of_drug(name, o.drug) is None for name in (need, "maximum_24h")):
            return True
        board = self.of_drug("maximum_on_board", o.drug)
        if o.kind == "bolus" and board is None:
            return True
        if board is not None and case.on_board.get(o.drug) is None:
            return True
        if o.drug not in case.basal_rates:
            if o.kind == "rate" and self.of_drug("maximum_times_basal", o.drug) is not None:
                return True
            timed = case.limits.get(f"maximum_automatic_bolus@{o.drug}")
            if o.kind == "bolus" and timed is not None and timed.unit in SECONDS and self.automatic():
                return True
        told = [f.ago_s for f in case.history if f.kind in ("bolus", "infusion", "rate") and f.name == o.drug]
        stale = self.of_drug("delivery_stale_after", o.drug)
        if stale is not None and (not told or Fraction(min(told)) > stale):
            return True
        beside = {"interaction_bolus@alpha", "interaction_rate@alpha"} & set(case.limits)
        unsure = "interaction_above@beta" in case.limits and case.on_board.get("beta") is None
        if beside and o.drug == "alpha" and unsure:
            return True
        if o.kind == "rate":
            return False
        interval = self.of_drug("minimum_interval", o.drug)
        ordered = [Fraction(f.ago_s) for f in case.history if f.kind == "ordered" and f.name == o.drug]
        if interval is not None and ordered and min(ordered) < interval:
            return True
        since = self.of_drug("maximum_given_since", o.drug)
        if since is not None and case.proposed_ago_s is not None:
            doses = sum(
                (
                    Fraction(f.value)
                    for f in case.history
                    if f.kind in ("bolus", "infusion")
                    and f.name == o.drug
                    and 0 <= f.ago_s < case.proposed_ago_s
                ),
                Fraction(0),
            )
            return doses * 100 > since * Fraction(o.amount)
        return False

    # --- room -----------------------------------------------------------------------------------------

    def most(self, index: int, amounts: list[Fraction], giving: list[int]) -> Fraction:
        """The largest amount that is acceptable beside the orders before it."""
        wanted = amounts[index]
        self.check_units(index, giving)
        if self.acceptable(index, wanted, amounts, giving):
            return wanted
        low, high = Fraction(0), wanted
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if self.acceptable(index, middle, amounts, giving):
                low = middle
            else:
                high = middle
        return low if low > wanted / 10**9 else Fraction(0)

    def check_units(self, index: int, giving: list[int]) -> None:
        """Of every limit that applies to the order, whatever its amount."""
        o = self.case.orders[index]
        rate, bolus = o.kind == "rate", o.kind == "bolus"
        timed, strong = rate or o.duration_s > 0, self.strengthened(o.drug, giving)
        asked = {
            "maximum_rate": timed,
            "interaction_rate": strong and timed,
            "maximum_increase": rate,
            "maximum_amount": not rate,
            "maximum_bolus": bolus,
            "interaction_bolus": bolus and strong,
            "maximum_on_board": True,
            **dict.fromkeys(WINDOWS, True),
        }
        for name, applies in asked.items():
            if applies and self.of_drug(name, o.drug) is not None:
                self.check_unit(name, o.drug)

    def acceptable(self, index: int, amount: Fraction, amounts: list[Fraction], giving: list[int]) -> bool:
        o = self.case.orders[index]
        hours = Fraction(o.duration_s) / 3600
        speed = amount if o.kind == "rate" else amount / hours if hours else None
        basal = Fraction(self.case.basal_rates.get(o.drug, 0))
        current = self.running(o.drug)
        strong = self.strengthened(o.drug, giving)

        def within(name: str, value: Fraction | None) -> bool:
            bound = self.of_drug(name, o.drug)
            if bound is None or value is None:
                return True
            return value <= bound

        if not within("maximum_rate", speed) or (strong and not within("interaction_rate", speed)):
            return False
        if o.kind == "rate":
            if not within("maximum_increase", amount - (basal if current is None else current)):
                return False
            times = self.of_drug("maximum_times_basal", o.drug)
            if times is not None and amount > times * basal:
                return False
        elif not within("maximum_amount", amount):
            return False
        if o.kind == "bolus":
            if not within("maximum_bolus", amount) or (strong and not within("interaction_bolus", amount)):
                return False
            idea = self.case.limits.get(f"maximum_automatic_bolus@{o.drug}")
            own = None if idea is None else Fraction(idea.value) * SECONDS[idea.unit] / 3600 * basal
            if own is not None and self.automatic() and amount > own:
                return False
        before = [(self.case.orders[i], amounts[i]) for i in giving if i < index]
        return self.within_windows(o, amount, before) and self.within_joint(o, speed, before, giving)

    def within_windows(self, o: Order, amount: Fraction, before: list[tuple[Order, Fraction]]) -> bool:
        board = self.of_drug("maximum_on_board", o.drug)
        same = [(other, other_amount) for other, other_amount in before if other.drug == o.drug]
        extra = self.extra(o, amount)
        if board is not None and extra > 0:
            start = max(Fraction(0), Fraction(self.case.on_board[o.drug] or 0))
            if start + sum((self.extra(*each) for each in same), Fraction(0)) + extra > board:
                return False
        for name, hours in WINDOWS.items():
            bound = self.of_drug(name, o.drug)
            if bound is None:
                continue

            def inside(order: Order, dose: Fraction, hours: int = hours) -> Fraction:
                lasts = Fraction(order.duration_s)
                return self.extra(order, dose) * (min(Fraction(1), hours * 3600 / lasts) if lasts else 1)

            taken = self.given(o.drug, hours) + sum((inside(*each) for each in same), Fraction(0))
            if extra > 0 and taken + inside(o, amount) > bound:
                return False
            if o.kind == "regimen" and amount * hours * 3600 / Fraction(o.interval_s) > bound:
                return False
        return True

    def within_joint(
        self, o: Order, speed: Fraction | None, before: list[tuple[Order, Fraction]], giving: list[int]
    ) -> bool:
        joint = self.bound("joint_rate")
        if joint is None or speed is None or self.of_drug("joint_full_rate", o.drug) is None:
            return True
        speeds: dict[str, Fraction] = {}
        for drug in DRUGS:
            replaced = any(
                self.case.orders[i].kind == "rate" and self.case.orders[i].drug == drug
                for i in range(len(self.case.orders))
            )
            programme = Fraction(self.case.basal_rates.get(drug, 0))
            runs = self.running(drug)
            speeds[drug] = Fraction(0) if replaced else programme if runs is None else runs
        for order, amount in before:
            if order.kind == "rate":
                speeds[order.drug] += amount
            elif order.duration_s:
                speeds[order.drug] += amount * 3600 / Fraction(order.duration_s)
        speeds[o.drug] += speed
        total = Fraction(0)
        for drug, runs in speeds.items():
            full = self.of_drug("joint_full_rate", drug)
            if full is not None:
                total += runs / full
        return total <= joint

    def strengthened(self, drug: str, giving: list[int]) -> bool:
        """Whether another drug is, or would be by this very command, above its threshold."""
        for other in DRUGS:
            threshold = self.of_drug("interaction_above", other)
            if other == drug or threshold is None:
                continue
            would = sum(
                (
                    self.extra(self.case.orders[i], Fraction(self.case.orders[i].amount))
                    for i in giving
                    if self.case.orders[i].drug == other
                ),
                Fraction(0),
            )
            if max(Fraction(0), Fraction(self.case.on_board.get(other) or 0)) + would > threshold:
                return True
        return False

    def extra(self, o: Order, amount: Fraction) -> Fraction:
        """What an order gives beyond the device's own programme."""
        if o.kind != "rate":
            return amount
        above = amount - Fraction(self.case.basal_rates.get(o.drug, 0))
        return max(Fraction(0), above) * Fraction(o.duration_s) / 3600
