"""What a fleet is: how many patients, on which therapies, in which modes, with which faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dosetwin.platform.contracts import Mode
from dosetwin.platform.errors import SettingsError
from dosetwin.stream_jobs.fleet.faults import LEVELS, FleetFaults

MODES: dict[str, Mapping[Mode, float]] = {
    "autonomous": {"autonomous": 1.0},
    "advisory": {"advisory": 1.0},
    "shadow": {"shadow": 1.0},
    "mixed": {"autonomous": 0.8, "advisory": 0.15, "shadow": 0.05},
}
THERAPIES = ("t1d-insulin", "vancomycin")
"""The therapies that the fleet has plants and devices for."""


@dataclass(frozen=True)
class FleetPlan:
    """One fleet. `for_s` is wall seconds, None until stopped; `drain_s` how long the gateway goes on.

    `state_dir` keeps the devices' memory and the plants: a fleet started on it again goes on from there, and
    must be the same fleet (`seed`, `patients`, `therapy_mix`, `mode`).
    """

    patients: int
    state_dir: Path
    therapy_mix: Mapping[str, float] = field(default_factory=lambda: {"t1d-insulin": 0.8, "vancomycin": 0.2})
    mode: str = "mixed"
    faults: FleetFaults = LEVELS["normal"]
    seed: int = 0
    for_s: float | None = None
    drain_s: float = 60.0
    quiet_s: float = 3.0

    def __post_init__(self) -> None:
        if self.patients < 1:
            raise SettingsError(f"a fleet of {self.patients} patients; expected at least 1")
        if self.mode not in MODES:
            raise SettingsError(f"mode is {self.mode!r}; expected one of {', '.join(MODES)}")
        unknown = sorted(set(self.therapy_mix) - set(THERAPIES))
        if unknown or not self.therapy_mix or sum(self.therapy_mix.values()) <= 0:
            raise SettingsError(
                f"therapy mix is {dict(self.therapy_mix)}; expected shares above 0 of {', '.join(THERAPIES)}",
                remedy="for example --therapy-mix t1d-insulin=0.8,vancomycin=0.2",
            )

    def counts(self) -> dict[str, int]:
        """Patients by therapy, by largest remainder; they add up to `patients`."""
        return apportion(self.patients, self.therapy_mix)

    def fingerprint(self) -> str:
        """What must be equal for a fleet to go on from a state folder."""
        mix = ",".join(f"{name}={count}" for name, count in sorted(self.counts().items()))
        return f"seed={self.seed} mode={self.mode} {mix}"


K = TypeVar("K", bound=str)


def apportion(total: int, shares: Mapping[K, float]) -> dict[K, int]:
    """Split `total` in proportion to `shares` by largest remainder."""
    whole = sum(shares.values())
    exact = {name: total * share / whole for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return {name: count for name, count in counts.items() if count}


def parse_mix(text: str) -> dict[str, float]:
    """A therapy mix from `t1d-insulin=0.8,vancomycin=0.2`.

    Raises SettingsError when a share is no number.
    """
    mix: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            mix[name] = float(value) if value else 1.0
        except ValueError:
            raise SettingsError(
                f"therapy mix {part!r}; expected NAME=SHARE",
                remedy="for example --therapy-mix t1d-insulin=0.8,vancomycin=0.2",
            ) from None
    return mix
