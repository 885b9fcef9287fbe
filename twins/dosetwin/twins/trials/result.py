"""The figures of a virtual trial: every measure of every policy, and each policy against the first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dosetwin.twins.trials.statistics import Difference, Summary, paired_difference, summarise
from dosetwin.twins.trials.trial import Measure, Outcome

NO_CHALLENGE = ""
NONE = "none"
"""How the absence of a challenge is written on a command line and in a report."""


@dataclass(frozen=True)
class Setting:
    """What was simulated: enough to simulate it again.

    `patients` from number `first_patient` on; `policies` in order, the first is the one others are compared
    with; `challenges` in order, "" is none.
    """

    therapy: str
    plant: str
    patients: int
    first_patient: int
    days: float
    seed: int
    policies: tuple[str, ...]
    group: str = ""
    challenges: tuple[str, ...] = (NO_CHALLENGE,)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialResult:
    """summaries: (challenge, policy) -> measure -> Summary; differences: so too, without the first policy."""

    setting: Setting
    measures: tuple[Measure, ...]
    summaries: Mapping[tuple[str, str], Mapping[str, Summary]]
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]

    def line(self) -> dict[str, Any]:
        """`therapy, plant, patients, days, seed`, and `policies` by name: measures with mean, worst, ci95.

        What cannot be said is null. `policies` are of the first challenge, which is named where it is not
        "none"; with several, `challenges` has the policies of each by name.
        """
        setting = self.setting
        found: dict[str, Any] = {
            "therapy": setting.therapy,
            "plant": setting.plant,
            "patients": setting.patients,
            "days": setting.days,
            "seed": setting.seed,
        }
        if setting.group:
            found["group"] = setting.group
        if setting.options:
            found["options"] = dict(setting.options)
        if setting.challenges != (NO_CHALLENGE,):
            found["challenge"] = setting.challenges[0] or NONE
        found["policies"] = self._policies(setting.challenges[0])
        if len(setting.challenges) > 1:
            found["challenges"] = {name or NONE: self._policies(name) for name in setting.challenges}
        return found

    def full(self) -> dict[str, Any]:
        """`line()` with who was worst, of how many patients, and the paired differences."""
        setting = self.setting
        found = self.line() | {
            "first_patient": setting.first_patient,
            "confidence_interval": "95 %, bootstrap over patients (BCa, expanded for few)",
            "compared_with": setting.policies[0],
        }
        found["results"] = [
            {
                "challenge": challenge or NONE,
                "policy": policy,
                "measure": measure.name,
                "unit": measure.unit,
                "better": measure.better,
                "patients": summary.patients,
                "mean": _plain(summary.mean),
                "ci95": [_plain(summary.low), _plain(summary.high)],
                "worst": _plain(summary.worst),
                "worst_patient": self.patient(summary),
                "difference": self._difference(challenge, policy, measure.name),
            }
            for challenge in setting.challenges
            for policy in setting.policies
            for measure in self.measures
            for summary in (self.summaries[challenge, policy][measure.name],)
        ]
        return found

    def patient(self, summary: Summary) -> int | None:
        """The number of the worst patient."""
        return None if summary.worst_index < 0 else self.setting.first_patient + summary.worst_index

    def _policies(self, challenge: str) -> dict[str, Any]:
        return {
            policy: {
                name: {
                    "mean": _plain(summary.mean),
                    "worst": _plain(summary.worst),
                    "ci95": [_plain(summary.low), _plain(summary.high)],
                }
                for name, summary in self.summaries[challenge, policy].items()
            }
            for policy in self.setting.policies
        }

    def _difference(self, challenge: str, policy: str, measure: str) -> dict[str, Any] | None:
        found = self.differences.get((challenge, policy), {}).get(measure)
        if found is None:
            return None
        return {
            "patients": found.patients,
            "mean": _plain(found.mean),
            "ci95": [_plain(found.low), _plain(found.high)],
        }


def trial_result(
    setting: Setting, measures: tuple[Measure, ...], outcomes: Mapping[tuple[str, str], Outcome]
) -> TrialResult:
    """The figures of `outcomes`, one a (challenge, policy), all of the same patients in the same order.

    The bootstrap is seeded by the trial's seed: the same outcomes give the same figures.
    """
    summaries = {
        cell: {m.name: summarise(outcome.measures[m.name], m.better, setting.seed) for m in measures}
        for cell, outcome in outcomes.items()
    }
    first = setting.policies[0]
    differences = {
        (challenge, policy): {
            m.name: paired_difference(
                outcome.measures[m.name], outcomes[challenge, first].measures[m.name], setting.seed
            )
            for m in measures
        }
        for (challenge, policy), outcome in outcomes.items()
        if policy != first
    }
    return TrialResult(setting, measures, summaries, differences)


def lifetime(days: float) -> str:
    """How long a patient lives, in words: hours below a day."""
    if days < 1:
        return f"{24 * days:.4g} h"
    return f"{days:g} day{'' if days == 1 else 's'}"


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
