"""Twins of people with pens: the ensemble filter of `t1d-insulin`, told what a pen gives.

A long-acting dose is an infusion over a day (`models.long_acting_insulin`), beside a pump that gives nothing;
before the first known dose the filter takes the basal share of the daily dose, as it does for a pump that has
not spoken. What was injected and eaten is kept in a diary, for advice only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from dosetwin.platform.contracts import Prediction
from dosetwin.platform.errors import TherapyError
from dosetwin.twins.bank import Appraisal, Assimilation
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_noise import patient_key
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models.long_acting_insulin import LASTS_S
from dosetwin.twins.policies.pen_advice import LONG, RAPID, Diary
from dosetwin.twins.policies.pen_appraisal import appraise
from dosetwin.twins.policies.pen_titration import basal_need_U_per_h, next_dose_U

STEP_U, EVENING_HOUR = 1.0, 21.0
_SECOND_UID = 0x9E3779B97F4A7C15


class _Saved(msgspec.Struct):
    twins: bytes
    diaries: dict[str, Diary]
    targets: dict[str, dict[str, float]]


class PenBank:
    """Twins of `t1d-pen`. See `dosetwin.twins.bank.Bank` for the protocol."""

    therapy = "t1d-pen"

    def __init__(self, capacity: int, seed: int) -> None:
        self._twins = EnsembleBank(capacity, seed)
        self.model_version = f"{self._twins.model_version}/pen/1"
        self._seed = seed
        self._diaries: dict[str, Diary] = {}
        self._targets: dict[str, dict[str, float]] = {}

    def __contains__(self, patient: object) -> bool:
        return patient in self._twins

    def __len__(self) -> int:
        return len(self._twins)

    def enrol(
        self, patient: str, *, at_s: float, covariates: Mapping[str, float], targets: Mapping[str, float]
    ) -> None:
        """Add a twin at its prior, or change covariates (from `at_s` on) and targets of one that exists."""
        self._twins.enrol(patient, at_s=at_s, covariates=covariates, targets=targets)
        fresh = Diary(
            weight_kg=float(covariates["weight"]),
            daily_dose_U=float(covariates["total_daily_dose"]),
            step_U=float(covariates.get("dose_step", STEP_U)),
            evening_hour=float(covariates.get("evening_hour", EVENING_HOUR)),
        )
        kept = self._diaries.get(patient, fresh)
        self._diaries[patient] = msgspec.structs.replace(
            fresh,
            newest_s=kept.newest_s,
            boluses=kept.boluses,
            meals=kept.meals,
            long_acting=kept.long_acting,
        )
        self._targets[patient] = dict(targets)

    def withdraw(self, patient: str) -> None:
        """Forget a twin."""
        self._twins.withdraw(patient)
        self._diaries.pop(patient, None)
        self._targets.pop(patient, None)

    def assimilate(self, facts: Sequence[tuple[str, TwinEvent]]) -> Assimilation:
        """Take facts in any order, many of one patient included; late ones are put at their event time."""
        told: list[tuple[str, TwinEvent]] = []
        origin: list[int] = []
        for index, (patient, fact) in enumerate(facts):
            self._diary(patient).take(fact)
            for meant in _to_the_filter(fact):
                told.append((patient, meant))
                origin.append(index)
        found = self._twins.assimilate(told)
        predictions: list[Prediction | None] = [None] * len(facts)
        for index, prediction in zip(origin, found.predictions, strict=True):
            predictions[index] = predictions[index] or prediction
        return Assimilation(predictions, sorted({origin[index] for index in found.too_late}))

    def decide(self, patients: Sequence[str], at_s: Sequence[float]) -> Appraisal:
        """Forecast each patient from its event time `at_s` and score the boluses somebody could inject."""
        diaries = [self._diary(patient) for patient in patients]
        ensembles = np.stack([self._twins.ensemble(patient) for patient in patients])
        advised = []
        for diary, ensemble in zip(diaries, ensembles, strict=True):
            need = basal_need_U_per_h(np.asarray(ensemble, np.float64), diary.weight_kg)
            # half of the daily dose, where none is known
            previous = diary.long_acting[-1][2] if diary.long_acting else 0.5 * diary.daily_dose_U
            advised.append(next_dose_U(need, previous, diary.step_U))
        keys = np.array(
            [
                (patient_key(self._seed, patient) + round(at * 1000.0)) & 0xFFFFFFFF
                for patient, at in zip(patients, at_s, strict=True)
            ],
            np.uint32,
        )
        targets = [self._targets[patient] for patient in patients]
        return appraise(list(patients), np.asarray(at_s, float), ensembles, diaries, targets, advised, keys)

    def snapshot(self, patients: Sequence[str]) -> bytes:
        """The state of these twins, exactly."""
        return msgspec.msgpack.encode(
            _Saved(
                self._twins.snapshot(patients),
                {patient: self._diary(patient) for patient in patients},
                {patient: self._targets[patient] for patient in patients},
            )
        )

    def restore(self, payload: bytes) -> list[str]:
        """Take twins out of a snapshot (over any that are there); returns their patients."""
        saved = msgspec.msgpack.decode(payload, type=_Saved)
        patients = self._twins.restore(saved.twins)
        self._diaries.update(saved.diaries)
        self._targets.update(saved.targets)
        return patients

    def nbytes(self) -> int:
        """Memory that the twins take; about 80 bytes an entry of the diaries."""
        entries = sum(len(d.boluses) + len(d.meals) + len(d.long_acting) for d in self._diaries.values())
        return self._twins.nbytes() + 80 * entries + row.SIZE

    def _diary(self, patient: str) -> Diary:
        try:
            return self._diaries[patient]
        except KeyError:
            raise TherapyError(
                f"no t1d-pen twin of patient {patient}; this bank holds {len(self)} others",
                remedy="enrol the patient first",
            ) from None


def _to_the_filter(fact: TwinEvent) -> tuple[TwinEvent, ...]:
    """What the filter of a pump's patient is told instead."""
    if fact.kind != "bolus" or fact.name != LONG:
        return (fact,)
    second = (fact.uid * _SECOND_UID + 1) & 0xFFFFFFFFFFFFFFFF
    return (
        TwinEvent(fact.at_s, "rate", RAPID, 0.0, second),
        TwinEvent(fact.at_s, "infusion", RAPID, fact.value, fact.uid, duration_s=LASTS_S),
    )
