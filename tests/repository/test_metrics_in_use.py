"""Every declared metric is updated by somebody: a flat line must mean that nothing happened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dosetwin.platform.metrics import (
    ControlMetrics,
    DashboardMetrics,
    FleetMetrics,
    ProcessMetrics,
    ShardMetrics,
)

ROOT = Path(__file__).parents[2]
CLASSES = (ShardMetrics, ControlMetrics, FleetMetrics, DashboardMetrics)
OWN = set(vars(ProcessMetrics()))


def source(*rooms: str) -> str:
    return "\n".join(path.read_text() for room in rooms for path in sorted((ROOT / room).rglob("*.py")))


@pytest.mark.parametrize("declared", CLASSES)
def test_every_metric_is_updated(declared: type[ProcessMetrics]) -> None:
    code = source("dashboards") if declared is DashboardMetrics else source("stream_jobs")
    assert declared.__name__ + "(" in code, f"no process makes {declared.__name__}"
    names = set(vars(declared())) - OWN
    unused = {name for name in names if not re.search(rf"metrics\w*\.{name}\b", code)}
    assert not unused


@pytest.mark.parametrize("declared", CLASSES)
def test_every_process_serves_its_metrics(declared: type[ProcessMetrics]) -> None:
    code = source("dashboards") if declared is DashboardMetrics else source("stream_jobs")
    port = f"{declared.kind}_port"
    assert re.search(rf"metrics\.{port}\b", code), f"nobody serves on metrics.{port}"
