"""How much comes in on each topic: counts, rates, age, and whether the ward fell silent."""

from __future__ import annotations

from collections import deque

from dosetwin.dashboards.series import Series, SeriesView
from dosetwin.dashboards.snapshot import TopicFlow

WINDOW_S = 10.0
HISTORY_EVERY_S = 2.0
HISTORY_ROWS = 300
SILENT_AT_LEAST_S = 10.0
SILENT_GAPS = 6.0
"""A ward is silent when no reading came for this many usual gaps between batches of readings."""


class FlowMeter:
    """Counts records by topic, in wall seconds."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self._records = dict.fromkeys(topics, 0)
        self._undecodable = dict.fromkeys(topics, 0)
        self._newest: dict[str, float | None] = dict.fromkeys(topics)
        self._window: deque[tuple[float, dict[str, int]]] = deque()
        self._history = {topic: Series(2, HISTORY_ROWS) for topic in topics}
        self._noted_s = 0.0
        self._heard_readings_s: float | None = None
        self._gap_s = 0.0

    def took(self, topic: str, records: int, newest_wall_s: float, undecodable: int = 0) -> None:
        """Note a batch of records; `newest_wall_s` is the newest broker time among them."""
        self._records[topic] += records
        self._undecodable[topic] += undecodable
        self._newest[topic] = max(self._newest[topic] or 0.0, newest_wall_s)
        if topic == "readings":
            if self._heard_readings_s is not None and newest_wall_s > self._heard_readings_s:
                gap_s = newest_wall_s - self._heard_readings_s
                self._gap_s = gap_s if self._gap_s == 0.0 else 0.9 * self._gap_s + 0.1 * gap_s
            self._heard_readings_s = max(self._heard_readings_s or 0.0, newest_wall_s)

    def tick(self, wall_s: float) -> None:
        """Move the window to `wall_s`, and note the rates for the history every two seconds."""
        self._window.append((wall_s, dict(self._records)))
        while len(self._window) > 2 and self._window[0][0] < wall_s - WINDOW_S:
            self._window.popleft()
        if wall_s - self._noted_s >= HISTORY_EVERY_S:
            self._noted_s = wall_s
            for topic, series in self._history.items():
                series.append(wall_s, self._rate(topic))

    @property
    def silent_after_s(self) -> float:
        """Seconds without any reading after which this ward counts as silent."""
        return max(SILENT_AT_LEAST_S, SILENT_GAPS * self._gap_s)

    def flows(self) -> dict[str, TopicFlow]:
        """Each topic's flow."""
        return {
            topic: TopicFlow(
                records=records,
                per_second=self._rate(topic),
                newest_wall_s=self._newest[topic],
                undecodable=self._undecodable[topic],
            )
            for topic, records in self._records.items()
        }

    def history(self) -> dict[str, SeriesView]:
        """Each topic's rates of the last ten minutes."""
        return {topic: series.view() for topic, series in self._history.items()}

    def _rate(self, topic: str) -> float:
        if len(self._window) < 2:
            return 0.0
        (start_s, before), (end_s, after) = self._window[0], self._window[-1]
        return (after[topic] - before[topic]) / (end_s - start_s) if end_s > start_s else 0.0
