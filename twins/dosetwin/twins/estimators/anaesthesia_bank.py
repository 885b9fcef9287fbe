"""Many anaesthesia twins as a struct of arrays: the ensemble filter of two drugs behind the protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Prediction
from dosetwin.platform.errors import TherapyError
from dosetwin.twins.bank import Appraisal, Assimilation
from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators import anaesthesia_twin as twins
from dosetwin.twins.estimators.anaesthesia_delivery import Schedule
from dosetwin.twins.estimators.anaesthesia_filter import Round, advance_batch
from dosetwin.twins.estimators.anaesthesia_prior import Person, centre, prior_ensemble
from dosetwin.twins.estimators.anaesthesia_snapshot import Snapshot, StoredTwin, decode, encode
from dosetwin.twins.estimators.anaesthesia_stimuli import Stimuli
from dosetwin.twins.estimators.anaesthesia_twin import HEAD, Mark, Plan, Step, Twin
from dosetwin.twins.estimators.ensemble_noise import fold, patient_key
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.anaesthesia_appraisal import Present, appraise

MODEL_VERSION = f"eleveld-2018-2017/ensemble-{row.MEMBERS}/5"
BATCHES = (8, 32, 128, 512)
"""Batches are padded to one of these: a compilation costs seconds, a padded patient microseconds."""
COPIES = 6
UNITS = ("1", "mm[Hg]", "/min")

Stored = npt.NDArray[np.float32]


class AnaesthesiaBank:
    """Twins of `propofol`. See `dosetwin.twins.bank.Bank` for the protocol.

    Ensembles lie as float32[copy, capacity, rows x members] (copies: `anaesthesia_twin`), a row a patient.
    """

    therapy = "propofol"
    model_version = MODEL_VERSION

    def __init__(self, capacity: int, seed: int) -> None:
        self.seed = seed
        self._capacity = 1 << max(0, math.ceil(math.log2(max(capacity, BATCHES[0]))))
        self._held = np.zeros((COPIES, self._capacity, row.SIZE), np.float32)
        self._keys = np.zeros(self._capacity, np.uint32)
        self._twins: dict[str, Twin] = {}
        self._free = list(range(self._capacity - 1, -1, -1))

    def __contains__(self, patient: object) -> bool:
        return patient in self._twins

    def __len__(self) -> int:
        return len(self._twins)

    def enrol(
        self, patient: str, *, at_s: float, covariates: Mapping[str, float], targets: Mapping[str, float]
    ) -> None:
        """Add a twin at its prior, or change covariates (from `at_s` on) and targets of one that exists."""
        twin = self._twins.get(patient)
        if twin is not None:
            twin.targets = dict(targets)
            now = twin.marks[HEAD].person._asdict()
            facts = [
                (patient, TwinEvent(at_s, "covariate", name, value, uid))
                for uid, (name, of) in enumerate(twins.COVARIATES.items())
                if (value := covariates.get(name, now[of])) != now[of]
            ]
            if facts:
                self.assimilate(facts)
            return
        missing = twins.COVARIATES.keys() - covariates.keys()
        if missing:
            raise TherapyError(
                f"patient {patient} lacks {', '.join(sorted(missing))}; propofol needs age (a), weight (kg), "
                "height (cm) and sex (1 for men)",
                remedy="give them in the enrolment",
            )
        person = Person(*(float(covariates[name]) for name in twins.COVARIATES))
        slot = self._slot()
        key = patient_key(self.seed, patient)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed & 0xFFFFFFFF, key]))
        self._held[:, slot] = prior_ensemble(rng, person).reshape(-1)
        self._keys[slot] = key
        self._twins[patient] = Twin(patient, slot, key, person, dict(targets))

    def withdraw(self, patient: str) -> None:
        """Forget a twin; its slot is used again."""
        twin = self._twins.pop(patient, None)
        if twin is not None:
            self._free.append(twin.slot)

    def assimilate(self, facts: Sequence[tuple[str, TwinEvent]]) -> Assimilation:
        """Take facts in any order, many of one patient included; late ones are put at their event time."""
        grouped: dict[str, list[tuple[TwinEvent, int]]] = {}
        for index, (patient, fact) in enumerate(facts):
            grouped.setdefault(patient, []).append((fact, index))
        predictions: list[Prediction | None] = [None] * len(facts)
        too_late: list[int] = []
        plans: list[Plan] = []
        for patient, group in grouped.items():
            made = twins.plan(self._twin(patient), group, too_late)
            if made is not None:
                plans.append(made)
        self._run(plans, facts, predictions)
        return Assimilation(predictions=predictions, too_late=sorted(too_late))

    def decide(self, patients: Sequence[str], at_s: Sequence[float]) -> Appraisal:
        """Forecast each patient from its event time `at_s` and score the therapy's candidates."""
        asked = [self._twin(patient) for patient in patients]
        slots = np.fromiter((twin.slot for twin in asked), np.intp, len(asked))
        ensembles = self._held[HEAD, slots]
        ways = [twins.steps_to(twin, at) for twin, at in zip(asked, at_s, strict=True)]
        number = 0
        while waiting := [i for i, way in enumerate(ways) if len(way) > number]:
            chosen = np.array(waiting)
            ensembles[chosen], _ = self._advance(
                ensembles[chosen], self._keys[slots[chosen]], [ways[i][number] for i in waiting]
            )
            number += 1
        return appraise(Present.of(asked, at_s), ensembles)

    def snapshot(self, patients: Sequence[str]) -> bytes:
        """The state of these twins, exactly."""
        stored = []
        for patient in patients:
            twin = self._twin(patient)
            stored.append(
                StoredTwin(
                    patient=patient,
                    person=_numbers(twin.person),
                    targets=twin.targets,
                    facts=list(twin.facts),
                    rates=[list(schedule.rates) for schedule in twin.doses],
                    boluses=[list(schedule.boluses) for schedule in twin.doses],
                    infusions=[list(schedule.infusions) for schedule in twin.doses],
                    stimuli=list(twin.stimuli.told),
                    lines=list(twin.lines),
                    marks=[(mark.at_s, mark.bis_s, _numbers(mark.person)) for mark in twin.marks],
                    ended_s=twin.ended_s,
                    ensembles=np.ascontiguousarray(self._held[:, twin.slot], "<f4").tobytes(),
                )
            )
        return encode(Snapshot(self.therapy, self.model_version, self.seed, stored))

    def restore(self, payload: bytes) -> list[str]:
        """Take twins out of a snapshot (over any that are there); returns their patients."""
        snapshot = decode(payload, therapy=self.therapy, model_version=self.model_version, seed=self.seed)
        for stored in snapshot.twins:
            self.withdraw(stored.patient)
            slot = self._slot()
            key = patient_key(self.seed, stored.patient)
            self._held[:, slot] = np.frombuffer(stored.ensembles, "<f4").reshape(COPIES, row.SIZE)
            self._keys[slot] = key
            twin = Twin(stored.patient, slot, key, Person(*stored.person), dict(stored.targets))
            twin.facts = list(stored.facts)
            hypnotic, opioid = (
                Schedule(list(rates), list(boluses), list(infusions))
                for rates, boluses, infusions in zip(
                    stored.rates, stored.boluses, stored.infusions, strict=True
                )
            )
            twin.doses = hypnotic, opioid
            twin.stimuli = Stimuli(list(stored.stimuli))
            twin.lines = list(stored.lines)
            twin.marks = [Mark(at_s, bis_s, Person(*person)) for at_s, bis_s, person in stored.marks]
            twin.ended_s = stored.ended_s
            self._twins[stored.patient] = twin
        return [stored.patient for stored in snapshot.twins]

    def nbytes(self) -> int:
        """Memory that the twins take: ensembles, and about 120 bytes for each fact in a window."""
        facts = sum(len(twin.facts) for twin in self._twins.values())
        return self._held.nbytes + self._keys.nbytes + 120 * facts + 800 * len(self._twins)

    def ensemble(self, patient: str) -> Stored:
        """The newest ensemble of a patient, float32[rows, members] (a copy)."""
        stored: Stored = self._held[HEAD, self._twin(patient).slot].copy()
        return stored.reshape(row.ROWS, row.MEMBERS)

    def _twin(self, patient: str) -> Twin:
        try:
            return self._twins[patient]
        except KeyError:
            raise TherapyError(
                f"no propofol twin of patient {patient}; this bank holds {len(self._twins)} others",
                remedy="enrol the patient first",
            ) from None

    def _slot(self) -> int:
        if not self._free:
            self._free.extend(range(2 * self._capacity - 1, self._capacity - 1, -1))
            self._held = np.concatenate([self._held, np.zeros_like(self._held)], axis=1)
            self._keys = np.concatenate([self._keys, np.zeros_like(self._keys)])
            self._capacity *= 2
        return self._free.pop()

    def _run(
        self,
        plans: list[Plan],
        facts: Sequence[tuple[str, TwinEvent]],
        predictions: list[Prediction | None],
    ) -> None:
        """Run the rounds of many twins together."""
        held = self._held
        for made in plans:
            for source, target in made.copies:
                held[target, made.twin.slot] = held[source, made.twin.slot]
        plans = sorted(plans, key=lambda made: -len(made.steps))
        active, number = len(plans), 0
        while active:
            while active and len(plans[active - 1].steps) <= number:
                active -= 1
            if not active:
                break
            steps = [made.steps[number] for made in plans[:active]]
            slots = np.fromiter((made.twin.slot for made in plans[:active]), np.intp, active)
            for slot, step in zip(slots.tolist(), steps, strict=True):
                for source, target in step.copies:
                    held[target, slot] = held[source, slot]
                if step.change is not None:
                    self._become(slot, *step.change)
            held[HEAD, slots], expected = self._advance(held[HEAD, slots], self._keys[slots], steps)
            for k, step in enumerate(steps):
                if step.facts:
                    _predict(step, expected[:, k].tolist(), facts, predictions)
            number += 1

    def _become(self, slot: int, before: Person, after: Person) -> None:
        """Move the parameters as the typical ones move; what was learned about the patient stays."""
        moved = self._held[HEAD, slot].reshape(row.ROWS, row.MEMBERS)
        moved += (centre(after) - centre(before))[:, None]
        np.clip(moved, row.LOWER[:, None], row.UPPER[:, None], out=moved)

    def _advance(
        self, ensembles: Stored, keys: npt.NDArray[np.uint32], steps: Sequence[Step]
    ) -> tuple[Stored, npt.NDArray[np.float32]]:
        """The ensembles after a round each; predicted means and deviations [6, n]."""
        n, largest = len(steps), BATCHES[-1]
        if n > largest:
            parts = [
                self._advance(ensembles[k : k + largest], keys[k : k + largest], steps[k : k + largest])
                for k in range(0, n, largest)
            ]
            return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts], axis=1)
        size = batch_size(n)
        table = np.zeros((size, 12))
        table[:n] = [step[:12] for step in steps]
        table[n:, 8:11] = np.nan
        padded = np.zeros(size, np.uint32)
        padded[:n] = keys
        if n < size:
            ensembles = np.concatenate([ensembles, np.repeat(ensembles[:1], size - n, axis=0)])
        key = fold(padded, np.round(table[:, 11] * 1000.0).astype(np.int64).view(np.uint64))
        columns = np.ascontiguousarray(table[:, :11].T, np.float32)
        moved, expected = jax.device_get(
            advance_batch(jnp.asarray(ensembles), Round(*map(jnp.asarray, (*columns, key))))
        )
        return moved[:n], np.stack(expected)[:, :n]


def _numbers(person: Person) -> tuple[float, float, float, float]:
    return person.age_a, person.weight_kg, person.height_cm, person.sex_male


def batch_size(count: int) -> int:
    """The smallest batch that holds `count` patients."""
    return next(size for size in BATCHES if size >= count)


def _predict(
    step: Step,
    expected: list[float],
    facts: Sequence[tuple[str, TwinEvent]],
    predictions: list[Prediction | None],
) -> None:
    """Put in what was predicted for the readings of a round: median and 90 % interval of a normal."""
    for which, asked in enumerate(step.facts):
        for index in asked:
            if index < 0:
                continue
            median, spread = expected[2 * which], 1.6449 * expected[2 * which + 1]
            predictions[index] = Prediction(
                quantity=twins.READ[which],
                unit=UNITS[which],
                at=datetime.fromtimestamp(step.end_s, UTC),
                observed=facts[index][1].value,
                median=max(median, 0.0),
                low=max(median - spread, 0.0),
                high=median + spread,
            )
