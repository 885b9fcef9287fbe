"""The platform clock: one linear map from wall time to event time, the same in every process.

event = event_anchor + (wall - wall_anchor) * speed. With speed 1 and no anchors it is the wall clock.
A demo or a replay runs N times faster than life with `speed` N; watchdogs, expiries and stale-sensor
limits obey this clock, so that they mean event time too. Twins never see a clock: they get event times.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from dosetwin.platform.errors import SettingsError


class PlatformClock(msgspec.Struct, frozen=True):
    """Maps wall seconds (Unix) to event seconds (Unix) and back."""

    speed: float = 1.0
    wall_anchor_s: float = 0.0
    event_anchor_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise SettingsError(
                f"clock speed is {self.speed}; expected a number above 0",
                remedy="set clock.speed (or --speed) to 1 for real time, 60 for a minute a second",
            )

    def event_s(self, wall_s: float | None = None) -> float:
        """Event time, in Unix seconds, of a wall time in Unix seconds (default: now)."""
        wall = time.time() if wall_s is None else wall_s
        return self.event_anchor_s + (wall - self.wall_anchor_s) * self.speed

    def wall_s(self, event_s: float) -> float:
        """Wall time, in Unix seconds, at which an event time is reached."""
        return self.wall_anchor_s + (event_s - self.event_anchor_s) / self.speed

    def now(self) -> datetime:
        """Event time now, zone-aware (UTC)."""
        return instant(self.event_s())

    def sleep_s(self, event_duration_s: float) -> float:
        """Wall seconds that an event duration takes."""
        return event_duration_s / self.speed


def instant(event_s: float) -> datetime:
    """A zone-aware UTC datetime from Unix seconds."""
    return datetime.fromtimestamp(event_s, tz=UTC)
