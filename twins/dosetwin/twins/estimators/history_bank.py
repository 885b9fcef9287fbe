"""The bank of twins whose estimator reads the whole history: sparse levels, late ones included.

A twin's state is the set of its facts; everything else (etas, samples, forecasts) is computed from it, always
from the same start, with random keys from (seed, patient, what is asked). So the order of arrival, the cut of
batches, a snapshot and a restart change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol

import jax
import msgspec
import numpy as np
import numpy.typing as npt

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Prediction
from dosetwin.platform.errors import SnapshotError, TherapyError
from dosetwin.twins.bank import Appraisal, Assimilation
from dosetwin.twins.estimators.history_batch import batches
from dosetwin.twins.estimators.history_drift import Drift, engine_z
from dosetwin.twins.estimators.history_estimates import estimators, noise
from dosetwin.twins.estimators.patient_history import Arrays, PatientHistory
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.individual import parameters
from dosetwin.twins.simulation.program_writer import covariate_effects
from dosetwin.twins.therapy import CovariateNeed

Values = npt.NDArray[np.float64]
Stretches = list[tuple[float, dict[str, float]]]
"""(start in hours, covariates) of every stretch of constant covariates."""


class Policy(Protocol):
    """Scores what could be done for patients of a history bank."""

    def appraise(
        self,
        model: PopulationModel,
        patients: Sequence[str],
        arrays: Sequence[Arrays],
        at_s: Sequence[float],
        targets: Sequence[Mapping[str, float]],
        draws: Values,
        drift: Drift | None,
    ) -> Appraisal:
        """Forecast each patient from `at_s` and score the candidates."""
        ...


class _Twin(msgspec.Struct):
    history: PatientHistory
    targets: dict[str, float]
    defaults: dict[str, float]
    enrolled: dict[str, float]


class _SavedTwin(msgspec.Struct, array_like=True):
    patient: str
    targets: dict[str, float]
    defaults: dict[str, float]
    enrolled: dict[str, float]
    facts: list[TwinEvent]


class _Saved(msgspec.Struct):
    model_version: str
    twins: list[_SavedTwin]


class HistoryBank:
    """Twins of one therapy on one population model. Implements `dosetwin.twins.bank.Bank`.

    `needs`: the covariates an enrolment gives. `history_s`: how long a fact counts (PatientHistory).
    `drift`: how the parameters that the model lets vary between occasions do so. `settled`: what is made of
    the covariates that were told before the model sees them (a creatinine that lags, ...). `capacity` is
    not needed beforehand: twins are small sets of facts, arrays are made per call.
    """

    def __init__(
        self,
        therapy: str,
        model: PopulationModel,
        policy: Policy,
        *,
        drug: str,
        needs: Sequence[CovariateNeed],
        history_s: float,
        capacity: int,
        seed: int,
        drift: Drift | None = None,
        settled: Callable[[Stretches], Stretches] | None = None,
    ) -> None:
        if capacity < 1:
            raise TherapyError(f"found capacity {capacity} of a bank; expected at least 1")
        self.therapy = therapy
        if len(model.outputs) > 1 or bool(model.occasion_varying) != (drift is not None):
            raise TherapyError(
                f"{therapy}: found {len(model.outputs)} observed quantities, {len(model.occasion_varying)} "
                f"parameters that vary between occasions and {'no' if drift is None else 'a'} drift; "
                "expected one quantity, and a drift where there are such parameters"
            )
        self.model = _in_a_stream(model)
        self.model_version = f"{therapy}/{_version(model, drift, settled)}"
        self._policy = policy
        self._drug = drug
        self._needs = {need.name: need for need in needs}
        self._history_s = history_s
        self._seed = seed
        self._drift = drift
        self._settled = settled
        self._twins: dict[str, _Twin] = {}

    def enrol(
        self, patient: str, *, at_s: float, covariates: Mapping[str, float], targets: Mapping[str, float]
    ) -> None:
        """Add a twin at its prior, or change covariates (from `at_s` on) and targets of one that exists.

        A covariate is news only where it differs from the last enrolment's. Raises TherapyError where a
        needed covariate is missing, ModelError where the model cannot take the values.
        """
        twin = self._twins.get(patient)
        if twin is None:
            missing = [n.name for n in self._needs.values() if n.default is None and n.name not in covariates]
            if missing:
                raise TherapyError(
                    f"{self.therapy}: the enrolment of {patient} lacks {', '.join(missing)}",
                    remedy=f"give every covariate without a default: {', '.join(self._needs)}",
                )
            defaults = {
                n.name: covariates[n.name] if n.default is None else n.default for n in self._needs.values()
            }
            history = PatientHistory(self._drug, self.model.outputs[0].quantity, self._history_s)
            twin = _Twin(history, dict(targets), defaults, {})
        proposed = twin.defaults | {k: v for k, v in covariates.items() if k in self._needs}
        # refuses what the model cannot take before anything is changed
        covariate_effects(self.model, patient, {k: np.array([v]) for k, v in proposed.items()}, 1)
        self._twins[patient] = twin
        twin.targets = dict(targets)
        for name, value in covariates.items():
            # an enrolment repeated for another reason must not undo what the laboratory said since
            if name in self._needs and twin.enrolled.get(name) != value:
                twin.enrolled[name] = value
                uid = _digest(patient, name, f"{at_s!r}", f"{value!r}")
                twin.history.add(TwinEvent(at_s=at_s, kind="covariate", name=name, value=value, uid=uid))

    def withdraw(self, patient: str) -> None:
        """Forget a twin."""
        self._twins.pop(patient, None)

    def __contains__(self, patient: object) -> bool:
        return patient in self._twins

    def __len__(self) -> int:
        return len(self._twins)

    def assimilate(self, facts: Sequence[tuple[str, TwinEvent]]) -> Assimilation:
        """Take facts in any order; each level is predicted from everything known before it, then taken.

        Levels of one patient are taken in event time. Doses and covariates of the batch are taken first:
        they cannot change a prediction of an earlier time, and must not be missing from one of a later.
        """
        predictions: list[Prediction | None] = [None] * len(facts)
        too_late: list[int] = []
        waiting: dict[str, list[tuple[float, int, int]]] = {}
        quantity = self.model.outputs[0].quantity
        for i, (patient, fact) in enumerate(facts):
            twin = self._twin(patient)
            if fact.kind == "observation":
                if fact.name == quantity:
                    waiting.setdefault(patient, []).append((fact.at_s, fact.uid, i))
            elif fact.kind != "meal" and not twin.history.add(fact):
                too_late.append(i)
        for queue in waiting.values():
            queue.sort(reverse=True)
        while waiting:
            turn = [(patient, queue.pop()[2]) for patient, queue in waiting.items()]
            self._predict(turn, facts, predictions)
            for patient, i in turn:
                if not self._twins[patient].history.add(facts[i][1]):
                    too_late.append(i)
                    predictions[i] = None
            waiting = {patient: queue for patient, queue in waiting.items() if queue}
        return Assimilation(predictions, sorted(too_late))

    def _twin(self, patient: str) -> _Twin:
        twin = self._twins.get(patient)
        if twin is None:
            raise TherapyError(
                f"{self.therapy}: {patient} has no twin in this bank; expected one of {len(self._twins)}",
                remedy="enrol the patient first",
            )
        return twin

    def _arrays(self, patient: str, until_s: float) -> Arrays:
        twin = self._twin(patient)
        arrays = twin.history.arrays(twin.defaults, self.model.advancing, until_s)
        return arrays if self._settled is None else arrays._replace(stretches=self._settled(arrays.stretches))

    def _predict(
        self,
        turn: Sequence[tuple[str, int]],
        facts: Sequence[tuple[str, TwinEvent]],
        predictions: list[Prediction | None],
    ) -> None:
        arrays = [self._arrays(patient, facts[i][1].at_s) for patient, i in turn]
        at_h = [(facts[i][1].at_s - a.origin_s) / 3600 for (_, i), a in zip(turn, arrays, strict=True)]
        # two records asked for, as for a decision: one shape, one compilation
        ask_h = [(at, at) for at in at_h]
        observed, call = self.model.outputs[0], estimators(self.model.root, self._drift)
        for batch in batches(self.model, arrays, ask_h, self._drift):
            members = [turn[k] for k in batch.index]
            names = [(self._seed, patient, facts[i][1].uid) for patient, i in members]
            drawn = noise(self.model, names, self._drift)[batch.padding]
            found = call.estimate(self.model.population, batch, drawn)
            population, quantiles = found.typical[:, -1], call.quantiles(self.model.population, found)
            for row, (_, i) in enumerate(members):
                fact = facts[i][1]
                low, median, high = (float(value) for value in quantiles[row])
                predictions[i] = Prediction(
                    quantity=observed.quantity,
                    unit=observed.unit,
                    at=instant(fact.at_s),
                    observed=fact.value,
                    median=median,
                    low=low,
                    high=high,
                    population=float(population[row]),
                )

    def decide(self, patients: Sequence[str], at_s: Sequence[float]) -> Appraisal:
        """Forecast each patient from `at_s` and score the therapy's candidates."""
        arrays = [self._arrays(patient, at) for patient, at in zip(patients, at_s, strict=True)]
        twins = [self._twin(patient) for patient in patients]
        names = [
            (self._seed, patient, twin.history.fingerprint)
            for patient, twin in zip(patients, twins, strict=True)
        ]
        targets = [twin.targets for twin in twins]
        drawn = noise(self.model, names, self._drift)
        return self._policy.appraise(self.model, patients, arrays, at_s, targets, drawn, self._drift)

    def modes(self, patients: Sequence[str], at_s: Sequence[float]) -> list[dict[str, float]]:
        """Most probable individual parameters now, by name, for reading and tests."""
        arrays = [self._arrays(patient, at) for patient, at in zip(patients, at_s, strict=True)]
        at_h = [(at - a.origin_s) / 3600 for at, a in zip(at_s, arrays, strict=True)]
        found: list[dict[str, float]] = [{} for _ in patients]
        for batch in batches(self.model, arrays, [(at, at) for at in at_h], self._drift):
            mode = estimators(self.model.root, self._drift).mode(self.model.population, batch)
            with double_precision():
                z = jax.vmap(lambda z: engine_z(self.model, self._drift, z))(mode.z)
                p = parameters(self.model.root)(self.model.population, batch.program.rows, z)
                values, ok = {name: np.asarray(v) for name, v in p.items()}, np.asarray(mode.converged)
            for row, k in enumerate(batch.index):
                event = batch.program.observations.event[row, batch.asked[row, -1]]
                stretch = batch.program.events.row[row, event]
                found[k] = {name: float(value[row, stretch]) for name, value in values.items()}
                found[k]["converged"] = float(ok[row])
        return found

    def snapshot(self, patients: Sequence[str]) -> bytes:
        """The facts, targets and defaults of these twins: their whole state."""
        twins = [
            _SavedTwin(p, twin.targets, twin.defaults, twin.enrolled, twin.history.facts())
            for p, twin in ((p, self._twin(p)) for p in patients)
        ]
        return msgspec.msgpack.encode(_Saved(self.model_version, twins))

    def restore(self, payload: bytes) -> list[str]:
        """Take twins out of a snapshot (over any that are there); returns their patients."""
        try:
            saved = msgspec.msgpack.decode(payload, type=_Saved)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise SnapshotError(f"no snapshot of a history bank: {error}") from error
        if saved.model_version != self.model_version:
            raise SnapshotError(
                f"found a snapshot of {saved.model_version}; expected {self.model_version}",
                remedy="rebuild the twins from the topics' history, or run the version that wrote it",
            )
        for twin in saved.twins:
            history = PatientHistory(self._drug, self.model.outputs[0].quantity, self._history_s)
            history.extend(twin.facts)
            self._twins[twin.patient] = _Twin(history, twin.targets, twin.defaults, twin.enrolled)
        return [twin.patient for twin in saved.twins]

    def nbytes(self) -> int:
        """Memory that the twins take: about 400 bytes each and 160 a fact (measured with tracemalloc)."""
        return sum(400 + 160 * len(twin.history) for twin in self._twins.values())


@cache
def _in_a_stream(model: PopulationModel) -> PopulationModel:
    """The model as a stream tells of covariates: one holds from when it was measured, not until.

    One and the same for every bank of a model, because compiled functions are kept for a model's identity.
    """
    return replace(model, interpolation="last_value_forward")


def _version(model: PopulationModel, drift: Drift | None, settled: Callable[..., object] | None) -> str:
    described = repr((model.structure, model.observed, model.source, model.omega.tolist()))
    described += repr([(p.name, p.typical, p.unit) for p in model.parameters])
    if drift is not None:
        described += repr((drift, model.gamma.tolist()))
    if settled is not None:
        described += settled.__qualname__
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _digest(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")
