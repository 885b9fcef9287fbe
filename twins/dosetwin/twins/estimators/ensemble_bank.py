"""Many dense-sensor twins as a struct of arrays: the ensemble filter behind the bank's protocol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Prediction
from dosetwin.platform.errors import TherapyError
from dosetwin.twins.bank import Appraisal, Assimilation
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_delivery import Delivery
from dosetwin.twins.estimators.ensemble_filter import Steps, advance_batch, read_out_batch
from dosetwin.twins.estimators.ensemble_noise import fold, patient_key
from dosetwin.twins.estimators.ensemble_prediction import predict
from dosetwin.twins.estimators.ensemble_prior import prior_ensemble, sensitivity_centre
from dosetwin.twins.estimators.ensemble_snapshot import Snapshot, StoredTwin, decode, encode, to_bytes
from dosetwin.twins.estimators.ensemble_twin import (
    BOTH,
    COVARIATES,
    KEEP,
    UNANNOUNCED_MEAL_G,
    Covariates,
    Plan,
    Step,
    Twin,
    next_reading,
    plan,
    replan,
    steps_to,
)
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.insulin_appraisal import Inferred, Present, appraise
from dosetwin.twins.policies.insulin_targets import InsulinTargets

MODEL_VERSION = f"hovorka-2004/ensemble-{row.MEMBERS}/5"
BATCHES = (8, 64, 512)
"""Batches are padded to one of these: a compilation costs seconds, a padded patient microseconds."""
SMALLEST_BATCH, LARGEST_BATCH = BATCHES[0], BATCHES[-1]

Stored = npt.NDArray[np.float32]


class EnsembleBank:
    """Twins of `t1d-insulin`. See `dosetwin.twins.bank.Bank` for the protocol.

    Twins lie as float32[capacity, SIZE], a row a patient (`ensemble_layout`), so that taking a patient out or
    putting it back is one contiguous copy; kernels turn them to [..., patients].
    """

    therapy = "t1d-insulin"
    model_version = MODEL_VERSION

    def __init__(self, capacity: int, seed: int) -> None:
        self.seed = seed
        self._capacity = 1 << max(0, math.ceil(math.log2(max(capacity, SMALLEST_BATCH))))
        self._head, self._newer, self._older = (
            np.zeros((self._capacity, row.SIZE), np.float32) for _ in range(3)
        )
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
            twin.retarget(targets)
            now = twin.history[-1]
            changes = {
                name: float(value)
                for name, value in covariates.items()
                if name in COVARIATES and value != now[COVARIATES[name]]
            }
            self._change_covariates(twin, at_s, 0, changes)
            return
        missing = {"weight", "total_daily_dose"} - covariates.keys()
        if missing:
            raise TherapyError(
                f"patient {patient} lacks {', '.join(sorted(missing))}; t1d-insulin needs weight (kg) and "
                "total_daily_dose (U)",
                remedy="give them in the enrolment",
            )
        if not self._free:
            self._grow()
        slot = self._free.pop()
        start = Covariates(-math.inf, *(float(covariates.get(name, 0.0)) for name in COVARIATES))
        key = patient_key(self.seed, patient)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed & 0xFFFFFFFF, key]))
        ensemble = prior_ensemble(rng, start.weight_kg, start.total_daily_dose_U, settings=start.settings)
        for stored in (self._head, self._newer, self._older):
            stored[slot, : row.STATES], stored[slot, row.STATES :] = ensemble.reshape(-1), 0.0
        self._keys[slot] = key
        self._twins[patient] = Twin(patient, slot, key, [start], dict(targets), sensitivity_centre(ensemble))

    def withdraw(self, patient: str) -> None:
        """Forget a twin; its slot is used again."""
        twin = self._twins.pop(patient, None)
        if twin is not None:
            self._free.append(twin.slot)

    def assimilate(self, facts: Sequence[tuple[str, TwinEvent]]) -> Assimilation:
        """Take facts in any order, many of one patient included; late ones are put at their event time."""
        twins = self._twins
        grouped: dict[str, list[tuple[TwinEvent, int]]] = {}
        predictions: list[Prediction | None] = [None] * len(facts)
        too_late: list[int] = []
        for index, (patient, fact) in enumerate(facts):
            if fact.kind == "covariate":
                self._change_covariates(self._twin(patient), fact.at_s, fact.uid, {fact.name: fact.value})
                continue
            group = grouped.get(patient)
            if group is None:
                grouped[patient] = [(fact, index)]
            else:
                group.append((fact, index))
        plans: list[Plan] = []
        simple: list[tuple[int, Step]] = []
        for patient, group in grouped.items():
            twin = twins.get(patient) or self._twin(patient)
            if len(group) == 1 and (step := next_reading(twin, *group[0])) is not None:
                simple.append((twin.slot, step))
                continue
            made = plan(twin, group, too_late)
            if made is not None:
                plans.append(made)
        for start in range(0, len(simple), LARGEST_BATCH):
            slots, steps = zip(*simple[start : start + LARGEST_BATCH], strict=True)
            predict(facts, predictions, steps, *self._step(np.array(slots), steps))
        for run, mean, sd in self._run(plans):
            predict(facts, predictions, run, mean, sd)
        return Assimilation(predictions=predictions, too_late=sorted(too_late))

    def decide(self, patients: Sequence[str], at_s: Sequence[float]) -> Appraisal:
        """Forecast each patient from its event time `at_s` and score the therapy's candidates."""
        twins = [self._twin(patient) for patient in patients]
        slots = np.fromiter((twin.slot for twin in twins), np.intp, len(twins))
        ensembles = self._head[slots]
        deliveries = self._bring_forward(ensembles, slots, twins, at_s)
        held = [twin.covariates_at(at) for twin, at in zip(twins, at_s, strict=True)]
        columns = np.array(
            [
                (
                    at,
                    now.weight_kg,
                    now.settings.effective_daily_dose_U,
                    now.settings.basal_U_per_h,
                    delivery.rate_U_per_h,
                    delivery.since_s,
                    twin.sensitivity_centre,
                    *twin.aims,
                )
                for twin, at, now, delivery in zip(twins, at_s, held, deliveries, strict=True)
            ],
            float,
        ).reshape(len(twins), -1)
        at, weight, daily, basal, running, since, centre, *aims = np.ascontiguousarray(columns.T)
        targets = InsulinTargets(*aims)
        present = Present(
            list(patients), at, weight, daily, basal, running, since, centre, targets, deliveries
        )
        members, inferred = self._read_out(ensembles, self._keys[slots], at, weight)
        return appraise(present, members, inferred, self._keys[slots])

    def _read_out(
        self,
        stored: Stored,
        keys: npt.NDArray[np.uint32],
        at_s: npt.NDArray[np.float64],
        weight_kg: npt.NDArray[np.float64],
    ) -> tuple[Stored, Inferred]:
        """Members with what may have happened drawn into them, and what was inferred."""
        parts = []
        n = len(stored)
        minute = np.mod(at_s / 60.0, 1440.0).astype(np.float32)
        meal_mean = (UNANNOUNCED_MEAL_G / weight_kg).astype(np.float32)
        for start in range(0, n, LARGEST_BATCH):
            count = min(LARGEST_BATCH, n - start)
            some = np.minimum(np.arange(start, start + batch_size(count)), n - 1)
            made = read_out_batch(
                *map(jnp.asarray, (stored[some], keys[some], meal_mean[some], minute[some]))
            )
            members, probability, meal = jax.device_get(made)
            parts.append((members[:count], probability[:, :count], meal[:count]))
        members, probability, meal = (
            np.concatenate([part[k] for part in parts], axis=1 if k == 1 else 0) for k in range(3)
        )
        return members, Inferred(probability, meal)

    def snapshot(self, patients: Sequence[str]) -> bytes:
        """The state of these twins, exactly."""
        stored = []
        for patient in patients:
            twin = self._twin(patient)
            slot = twin.slot
            stored.append(
                StoredTwin(
                    patient=patient,
                    history=list(twin.history),
                    changes=twin.changes,
                    targets=twin.targets,
                    sensitivity_centre=twin.sensitivity_centre,
                    facts=twin.facts,
                    line=twin.line,
                    deliveries=[
                        (d.at_s, d.rate_U_per_h, d.since_s, d.changes, d.infusions)
                        for d in (twin.head, twin.newer, twin.older)
                    ],
                    ensembles=to_bytes(self._head[slot], self._newer[slot], self._older[slot]),
                )
            )
        return encode(Snapshot(self.therapy, self.model_version, self.seed, stored))

    def restore(self, payload: bytes) -> list[str]:
        """Take twins out of a snapshot (over any that are there); returns their patients."""
        snapshot = decode(payload, therapy=self.therapy, model_version=self.model_version, seed=self.seed)
        for stored in snapshot.twins:
            self.withdraw(stored.patient)
            if not self._free:
                self._grow()
            slot = self._free.pop()
            ensembles = np.frombuffer(stored.ensembles, "<f4").reshape(3, row.SIZE)
            self._head[slot], self._newer[slot], self._older[slot] = ensembles
            key = patient_key(self.seed, stored.patient)
            self._keys[slot] = key
            twin = Twin(
                stored.patient,
                slot,
                key,
                [Covariates(*entry) for entry in stored.history],
                dict(stored.targets),
                stored.sensitivity_centre,
            )
            twin.facts = list(stored.facts)
            twin.changes = list(stored.changes)
            twin.line = stored.line
            twin.head, twin.newer, twin.older = (Delivery(*delivery) for delivery in stored.deliveries)
            self._twins[stored.patient] = twin
        return [stored.patient for stored in snapshot.twins]

    def nbytes(self) -> int:
        """Memory that the twins take: ensembles, and about 120 bytes for each fact in a window."""
        facts = sum(len(twin.facts) for twin in self._twins.values())
        return 3 * self._head.nbytes + self._keys.nbytes + 120 * facts + 600 * len(self._twins)

    def ensemble(self, patient: str) -> Stored:
        """The newest ensemble of a patient, float32[rows, members] (a copy)."""
        stored: Stored = self._head[self._twin(patient).slot, : row.STATES].copy()
        return stored.reshape(row.ROWS, row.MEMBERS)

    def _twin(self, patient: str) -> Twin:
        try:
            return self._twins[patient]
        except KeyError:
            raise TherapyError(
                f"no t1d-insulin twin of patient {patient}; this bank holds {len(self._twins)} others",
                remedy="enrol the patient first",
            ) from None

    def _grow(self) -> None:
        self._free.extend(range(2 * self._capacity - 1, self._capacity - 1, -1))
        self._head, self._newer, self._older, self._keys = (
            np.concatenate([old, np.zeros_like(old)])
            for old in (self._head, self._newer, self._older, self._keys)
        )
        self._capacity *= 2

    def _change_covariates(self, twin: Twin, at_s: float, uid: int, changes: Mapping[str, float]) -> None:
        known = {name: value for name, value in changes.items() if name in COVARIATES}
        if known and twin.change_covariates(at_s, uid, known):
            made = replan(twin, at_s)
            if made is not None:
                list(self._run([made]))

    def _bring_forward(
        self, ensembles: Stored, slots: npt.NDArray[np.intp], twins: list[Twin], at_s: Sequence[float]
    ) -> list[Delivery]:
        """Propagate gathered ensembles (not the bank's own) to `at_s` where the newest fact is older."""
        ways = [steps_to(twin, at) for twin, at in zip(twins, at_s, strict=True)]
        number = 0
        while waiting := [i for i, way in enumerate(ways) if len(way.steps) > number]:
            for start in range(0, len(waiting), LARGEST_BATCH):
                some = np.array(waiting[start : start + LARGEST_BATCH])
                ensembles[some], _, _ = self._advance(
                    ensembles[some], self._keys[slots[some]], [ways[i].steps[number] for i in some]
                )
            number += 1
        return [way.delivery for way in ways]

    def _run(self, plans: list[Plan]) -> Iterator[tuple[Sequence[Step], list[float], list[float]]]:
        """Run the rounds of many twins together; yields steps with (mean, sd) of what was predicted."""
        for made in plans:
            slot = made.twin.slot
            if made.restore == "newer":
                self._head[slot] = self._newer[slot]
            elif made.restore == "older":
                self._head[slot] = self._newer[slot] = self._older[slot]
        plans = sorted(plans, key=lambda made: -len(made.steps))
        active, number = len(plans), 0
        while active:
            while active and len(plans[active - 1].steps) <= number:
                active -= 1
            for start in range(0, active, LARGEST_BATCH):
                batch = plans[start : min(start + LARGEST_BATCH, active)]
                steps = [made.steps[number] for made in batch]
                for made, step in zip(batch, steps, strict=True):
                    if step.checkpoints != KEEP:
                        self._checkpoint(made.twin.slot, step.checkpoints)
                slots = np.fromiter((made.twin.slot for made in batch), np.intp, len(batch))
                yield (steps, *self._step(slots, steps))
            number += 1
        for made in plans:
            if made.checkpoints != KEEP:
                self._checkpoint(made.twin.slot, made.checkpoints)

    def _step(self, slots: npt.NDArray[np.intp], steps: Sequence[Step]) -> tuple[list[float], list[float]]:
        """One round of these twins; mean and standard deviation of what was predicted."""
        moved, mean, sd = self._advance(self._head[slots], self._keys[slots], steps)
        self._head[slots] = moved
        return mean, sd

    def _checkpoint(self, slot: int, what: int) -> None:
        self._older[slot] = self._head[slot] if what == BOTH else self._newer[slot]
        self._newer[slot] = self._head[slot]

    def _advance(
        self, ensembles: Stored, keys: npt.NDArray[np.uint32], steps: Sequence[Step]
    ) -> tuple[Stored, list[float], list[float]]:
        n = len(steps)
        size = batch_size(n)
        table = np.zeros((size, 13))
        table[:, 10] = 1.0
        table[:n] = steps
        table[n:, 4] = np.nan
        uid = np.zeros(size, np.uint64)
        uid[:n] = [step.uid for step in steps]
        padded = np.zeros(size, np.uint32)
        padded[:n] = keys
        if n < size:
            ensembles = np.concatenate([ensembles, np.repeat(ensembles[:1], size - n, axis=0)])
        noise_key = fold(padded, np.round(table[:, 2] * 1000.0).astype(np.int64).view(np.uint64))
        minute = np.mod(table[:, 2] / 60.0, 1440.0).astype(np.float32)
        numbers = [jnp.asarray(column) for column in table.T.astype(np.float32)]
        moved, mean, sd = jax.device_get(
            advance_batch(
                jnp.asarray(ensembles),
                Steps(
                    h_min=numbers[0],
                    u=numbers[1],
                    minute=jnp.asarray(minute),
                    key=jnp.asarray(noise_key),
                    reading=numbers[4],
                    censored=jnp.asarray(table[:, 5], jnp.int32),
                    bolus=numbers[6],
                    meal=numbers[7],
                    meal_key=jnp.asarray(fold(padded, uid)),
                    exercise=numbers[11],
                    fresh_site=numbers[12],
                    meal_mean=numbers[10],
                ),
            )
        )
        return moved[:n], mean[:n].tolist(), sd[:n].tolist()


def batch_size(n: int) -> int:
    """The size that a batch of `n` patients is padded to."""
    return next(size for size in BATCHES if n <= size)
