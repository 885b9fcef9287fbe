"""Virtual patients as a clinic enrols them, with the settings of their pump and bolus calculator beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dosetwin.twins.patient import Patient
from dosetwin.twins.plants.diabetes_settings import ClinicalSettings

WRONG_WEIGHT = 0.25


@dataclass(frozen=True)
class PumpSettings:
    """Programme and bolus calculator of one patient."""

    basal_U_per_h: float
    carbohydrate_ratio_g_per_U: float
    correction_factor_mg_dL_per_U: float


class EnrolledPatient(Patient):
    """A patient whose therapy needs weight and total daily dose; `settings` are for policies that go by them.

    The twin is not told the settings: they are those of the comparators.
    """

    __slots__ = ("settings",)

    def __init__(self, settings: PumpSettings, **covariates: float | str | bool) -> None:
        super().__init__(**covariates)
        self.settings = settings

    def __reduce__(self) -> tuple[object, ...]:
        return (_enrolled, (self.settings, self.given))


def _enrolled(settings: PumpSettings, given: dict[str, float | str | bool]) -> EnrolledPatient:
    return EnrolledPatient(settings, **given)


def enrol(
    settings: ClinicalSettings, seed: int, numbers: range, challenge: str
) -> tuple[EnrolledPatient, ...]:
    """The patients of these numbers, with wrong weights where the challenge says so."""
    patients = []
    for i, number in enumerate(numbers):
        wrong = 1.0
        if challenge == "wrong_weight":
            rng = np.random.default_rng([seed, number, 0x3E1])
            wrong = 1.0 - WRONG_WEIGHT if rng.random() < 0.5 else 1.0 + WRONG_WEIGHT
        pump = PumpSettings(
            round(float(settings.basal_U_per_h[i]), 2),
            round(float(settings.carbohydrate_ratio_g_per_U[i]), 1),
            round(float(settings.correction_factor_mg_dL_per_U[i]), 1),
        )
        patients.append(
            EnrolledPatient(
                pump,
                weight_kg=round(wrong * float(settings.weight_kg[i]), 1),
                total_daily_dose_U=round(float(settings.total_daily_dose_U[i]), 1),
            )
        )
    return tuple(patients)


def settings_of(patient: Patient) -> PumpSettings:
    """A patient's own settings, or by the rules of the clinic where only the daily dose is known.

    Half of the daily dose as basal rate, 500 g and 1800 mg/dL divided by it: Walsh, Roberts & Bailey, J
    Diabetes Sci Technol 2011;5:1129 discuss them.
    """
    if isinstance(patient, EnrolledPatient):
        return patient.settings
    daily_U = float(patient.given["total_daily_dose_U"])
    return PumpSettings(daily_U / 48.0, 500.0 / daily_U, 1800.0 / daily_U)
