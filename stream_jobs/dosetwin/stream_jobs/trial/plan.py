"""What a virtual trial is to simulate, and into which pieces it is cut. Nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from dosetwin.platform.errors import DoseTwinError

TWIN_POLICY = "dosetwin"
"""The twin's own closed loop."""
CHUNK = 20
"""Patients of one task (our choice): a step is worth its call, and few are lost when a run is stopped."""


class TrialError(DoseTwinError):
    """A virtual trial was asked for in a way that means nothing, or a part of it broke its promise."""


@dataclass(frozen=True)
class Cell:
    """One task: a policy, a challenge ("" is none), and a run of patients by number."""

    challenge: str
    policy: str
    first: int
    count: int

    @property
    def name(self) -> str:
        """As a file name and in messages."""
        last = self.first + self.count - 1
        return f"{self.policy}.{self.challenge or 'none'}.{self.first:06d}-{last:06d}"


@dataclass(frozen=True)
class TrialPlan:
    """Everything the outcome depends on, but the code.

    `source`: the therapy's id, or path/to/file.py:NAME of a trial of one's own. Patients are numbered; number
    k is the same person with the same chance in every plan of the same plant, group, options, days and seed.
    """

    source: str
    plant: str
    patients: int
    days: float
    seed: int
    policies: tuple[str, ...]
    first_patient: int = 0
    group: str = ""
    challenges: tuple[str, ...] = ("",)
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.patients < 1:
            raise TrialError(f"found {self.patients} patients; expected at least 1")
        if self.first_patient < 0:
            raise TrialError(f"found first patient {self.first_patient}; expected 0 or more")
        if not (math.isfinite(self.days) and self.days > 0):
            raise TrialError(f"found {self.days:g} days; expected more than 0")
        if self.seed < 0:
            raise TrialError(f"found seed {self.seed}; expected 0 or more")
        if not self.policies:
            raise TrialError("found no policy; expected at least one")

    @property
    def numbers(self) -> range:
        """The patients."""
        return range(self.first_patient, self.first_patient + self.patients)

    def cells(self) -> list[Cell]:
        """Every task, in the order they are begun. The cut depends on the plan alone, not on the machine."""
        pieces = math.ceil(self.patients / CHUNK)
        edges = [self.first_patient + round(k * self.patients / pieces) for k in range(pieces + 1)]
        return [
            Cell(challenge, policy, first, end - first)
            for challenge in self.challenges
            for policy in self.policies
            for first, end in pairwise(edges)
        ]

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        found = asdict(self)
        found["options"] = dict(sorted(self.options.items()))
        return {**found, "policies": list(self.policies), "challenges": list(self.challenges), "chunk": CHUNK}

    def fingerprint(self, code: str) -> str:
        """64 hexadecimal digits of the plan and of the code's fingerprint."""
        text = json.dumps([self.record(), code], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
