"""Who is in the fleet: local identifiers, pseudonyms, modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dosetwin.platform.contracts import Mode
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.stream_jobs.fleet.plan import MODES, FleetPlan, apportion

BEDS_PER_WARD = 40


@dataclass(frozen=True)
class Person:
    """A patient of the fleet. `local_id` never leaves this process; `patient` is its pseudonym."""

    local_id: str
    patient: str
    ward: str
    mode: Mode


def admit(plan: FleetPlan, key: bytes) -> dict[str, list[Person]]:
    """The people of a plan, by therapy; the same plan and key give the same people."""
    admitted: dict[str, list[Person]] = {}
    number = 0
    for index, (therapy, count) in enumerate(plan.counts().items()):
        modes: list[Mode] = []
        for mode, size in apportion(count, MODES[plan.mode]).items():
            modes += [mode] * size
        order = np.random.default_rng([plan.seed, index, 0xAD]).permutation(count)
        people = []
        for i in range(count):
            ward, bed = number // BEDS_PER_WARD + 1, number % BEDS_PER_WARD + 1
            local_id = f"fleet{plan.seed}-ward{ward}-bed{bed}"
            people.append(Person(local_id, pseudonym(local_id, key), f"ward {ward}", modes[order[i]]))
            number += 1
        admitted[therapy] = people
    return admitted


def device_name(kind: str, person: Person) -> str:
    """A device's name on the topics: it says nothing about ward or bed."""
    return f"{kind.replace('_', '-')}-{person.patient[2:8]}"


def all_people(admitted: dict[str, list[Person]]) -> Sequence[Person]:
    """Everybody, therapy by therapy."""
    return [person for people in admitted.values() for person in people]
