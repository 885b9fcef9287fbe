"""What one dashboard process has once: settings, the reader, the prober, the desk, metrics, upkeep."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import streamlit as st

from dosetwin.dashboards.actions import ActionDesk
from dosetwin.dashboards.probe import Prober
from dosetwin.dashboards.reader import Reader
from dosetwin.dashboards.screens.contents import Contents
from dosetwin.dashboards.upkeep import Collector
from dosetwin.platform.errors import SettingsError
from dosetwin.platform.metrics import DashboardMetrics
from dosetwin.platform.settings import Settings, load_settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """The shared parts of this process; sessions only read `reader.snapshot` and `prober.newest`."""

    settings: Settings
    reader: Reader
    prober: Prober
    desk: ActionDesk
    metrics: DashboardMetrics
    collector: Collector
    contents: Contents

    def close(self) -> None:
        """Stop all threads."""
        self.collector.close()
        self.prober.close()
        self.reader.close()
        self.desk.close()
        self.metrics.close()


@st.cache_resource(show_spinner=False, on_release=Runtime.close)
def runtime() -> Runtime:
    """The one runtime of this process, started at the first viewer."""
    settings = load_settings()
    metrics = DashboardMetrics("dashboard")
    try:
        metrics.serve(settings.metrics.address, settings.metrics.dashboard_port)
    except SettingsError as error:
        _log.warning("no metrics: %s", error)

    metrics.viewers.set_function(_viewers)

    def on_batch(records: int, seconds: float, lag: int) -> None:
        metrics.reader_records.inc(records)
        metrics.reader_seconds.observe(seconds)
        metrics.reader_lag_records.set(lag)

    return Runtime(
        settings=settings,
        reader=Reader(settings, on_batch=on_batch).start(),
        prober=Prober(settings).start(),
        desk=ActionDesk(settings),
        metrics=metrics,
        collector=Collector().start(),
        contents=Contents(),
    )


def _viewers() -> float:
    """Browser sessions that are connected now. Streamlit knows; it has no public name for it (1.67)."""
    from streamlit.runtime import exists, get_instance

    return float(get_instance()._session_mgr.num_active_sessions()) if exists() else 0.0
