"""Virtual trials: patients who live through days under a policy, and what is measured of them.

A therapy's trial is one module here of the therapy's name (dashes as underscores) that defines `trial`. It
brings plants (patients with their devices, structurally different from the twin's model), the policies to
compare with, and the measures. The twin's own closed loop, `dosetwin`, is always among the policies.

Paired by construction: everything that happens to patient number k (parameters, meals, surgery, noise of
sensors, what is missed) is a function of (seed, k) and of nothing else: not of the policy, nor of which other
patients are simulated beside k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import TherapyError
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Cohort:
    """Who is simulated, and what happens to them.

    `numbers`: the patients by number. `group`: a subpopulation the plant knows ("" is its default).
    `challenge`: one of the trial's `challenges`, or "" for none. `options`: the plant's own switches.
    """

    numbers: range
    seed: int
    days: float
    group: str = ""
    challenge: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class TrialPlant(Protocol):
    """n virtual patients and their devices, advanced in lock-step from one decision to the next."""

    patients: tuple[Patient, ...]
    """As somebody enrolled them: with wrong weights where the challenge says so."""
    at_s: float
    """Event time now."""
    end_s: float

    def begin(self) -> list[list[TwinEvent]]:
        """What is known of each patient before the first decision, at `at_s`."""
        ...

    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        """Carry out each patient's orders and live until the next decision.

        Returns what arrived meanwhile from each patient: readings, what the device really delivered (as
        "rate", "bolus", "infusion"), announcements, covariates that were measured again; late ones later.
        A device goes on with what was ordered before where there is no new order, as long as it lasts.
        """
        ...

    def outcome(self) -> Outcome:
        """What became of the patients, for reports and measures."""
        ...


@dataclass(frozen=True)
class Outcome:
    """measures: name -> [n], NaN where it cannot be said of a patient. traces: name -> [n, T] at `time_s`."""

    measures: dict[str, FloatArray]
    time_s: FloatArray
    traces: dict[str, FloatArray]


class Controller(Protocol):
    """Decides for the n patients of a plant from what their devices tell, and from nothing else.

    Where levels are drawn on request it also has `next_sample_s`: when each patient's next one is wanted
    (event time, NaN for none), set by `decide`; the plant's `sample_at` is told.
    """

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """What arrived since the last call, a sequence a patient."""
        ...

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Each patient's orders now; nothing leaves the device as it is."""
        ...


@dataclass(frozen=True)
class Measure:
    """One number a patient, and which end of it is the worst."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    title: str


@dataclass(frozen=True)
class Comparator:
    """A policy to compare with: how it is made for the patients as enrolled, and its name and source."""

    make: Callable[[tuple[Patient, ...], int], Controller]
    title: str


@dataclass(frozen=True)
class Trial:
    """How one therapy is tried. `plants`: name -> maker; the first is the default.

    `measures` are reported in this order; `figures(outcomes)` draws what people look at, by title, from one
    outcome a policy.
    """

    therapy: str
    plants: Mapping[str, Callable[[Cohort], TrialPlant]]
    comparators: Mapping[str, Comparator]
    measures: tuple[Measure, ...]
    default_days: float
    figures: Callable[[Mapping[str, Outcome]], dict[str, Any]]
    groups: tuple[str, ...] = ("",)
    challenges: Mapping[str, str] = field(default_factory=dict)
    """name -> what it does, in words."""
    options: Mapping[str, str] = field(default_factory=dict)
    """name -> what it does, in words, with its values and default."""


def load_trial(therapy_id: str) -> Trial:
    """The trial of a therapy. Raises TherapyError where none was written."""
    name = therapy_id.replace("-", "_")
    try:
        module = import_module(f"dosetwin.twins.trials.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"dosetwin.twins.trials.{name}":
            raise
        raise TherapyError(
            f"no virtual trial of {therapy_id!r}",
            remedy=f"add twins/dosetwin/twins/trials/{name}.py with a plant and its measures",
        ) from None
    trial: Trial = module.trial
    return trial
