"""Which patient comes first: the worst open alert, the nearest event, the oldest value, the id."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.dashboards.snapshot import WardColumns


def priority_codes(ward: WardColumns) -> npt.NDArray[np.int8]:
    """The worst open alert of each row: 3 high, 2 medium, 1 low, 0 none."""
    return np.where(ward.high > 0, 3, np.where(ward.medium > 0, 2, np.where(ward.low > 0, 1, 0))).astype(
        np.int8
    )


def value_age_s(ward: WardColumns, event_s: float) -> npt.NDArray[np.float64]:
    """Seconds of event time since each row's newest value; infinite where there never was one."""
    return np.where(np.isnan(ward.value_at_s), np.inf, event_s - ward.value_at_s)


def is_stale(ward: WardColumns, event_s: float) -> npt.NDArray[np.bool_]:
    """Rows whose newest value is older than their therapy allows."""
    return np.asarray(value_age_s(ward, event_s) > ward.stale_after_s)


def urgency_order(ward: WardColumns, event_s: float) -> tuple[int, ...]:
    """Rows by urgency: priority down, time to event up (none last), age down, id up."""
    if not len(ward):
        return ()
    event = np.where(np.isnan(ward.time_to_event_s), np.inf, ward.time_to_event_s)
    age = value_age_s(ward, event_s)
    by_id = np.argsort(np.array(ward.ids))
    rank = np.empty(len(ward), np.int64)
    rank[by_id] = np.arange(len(ward))
    order = np.lexsort((rank, -age, event, -priority_codes(ward).astype(np.int64)))
    return tuple(order.tolist())
