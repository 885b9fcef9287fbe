"""The one timer of a page: once a second a message to its view, and what the view says back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import streamlit as st

from dosetwin.dashboards.components.view import view
from dosetwin.dashboards.runtime import Runtime, runtime
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.view_models import ward as ward_view
from dosetwin.dashboards.view_models.header import header

EVERY_S = 1.0
NOTICE_S = 12.0

Build = Callable[[Runtime, Snapshot], Any]


@dataclass
class Session:
    """What one browser tab was last sent, and the sentences it is to see."""

    digest: str = ""
    sent: Snapshot | None = None
    notices: list[tuple[float, str, str, bool]] = field(default_factory=list)


def session() -> Session:
    """The session of the tab that runs now."""
    found = st.session_state.get("dosetwin")
    if not isinstance(found, Session):
        found = st.session_state["dosetwin"] = Session()
    return found


def live(page: str, build: Build, subject: str = "") -> None:
    """Show a page: its view, refreshed by the page's only timer.

    `build` gives the page's content from a snapshot and `subject` (what else it depends on). A full run
    means that the browser may have a new view: everything is sent again.
    """
    session().digest, session().sent = "", None
    _refresh(page, build, subject)


@st.fragment(run_every=EVERY_S)
def _refresh(page: str, build: Build, subject: str) -> None:
    started = time.perf_counter()
    shared = runtime()
    mine = session()
    said = st.session_state.get(f"view-{page}") or {}
    if said.get("resync"):
        mine.digest, mine.sent = "", None
    if said.get("act"):
        _perform(shared, mine, said["act"])
    message = _message(page, build, subject, shared, mine)
    result = view(page)(
        key=f"view-{page}",
        data=message,
        on_act_change=_nothing,
        on_open_change=_nothing,
        on_resync_change=_nothing,
    )
    shared.metrics.runs[page].inc()
    shared.metrics.run_seconds[page].observe(time.perf_counter() - started)
    shared.metrics.sent_bytes[page].observe(len(message))
    if result.open:
        open_patient(str(result.open))


def open_patient(patient: str) -> None:
    """Go to a patient's page."""
    from dosetwin.dashboards.app import PAGES

    st.switch_page(PAGES["patient"], query_params={"patient": patient})


def _message(page: str, build: Build, subject: str, shared: Runtime, mine: Session) -> bytes:
    wall_s = time.time()
    snapshot = shared.reader.snapshot
    dashboard = shared.settings.dashboard
    base = mine.digest
    message: dict[str, Any] = {
        "header": header(snapshot, wall_s, dashboard.person, dashboard.role),
        "notices": [
            {"id": identity, "text": sentence, "ok": ok}
            for at, identity, sentence, ok in mine.notices
            if wall_s - at < NOTICE_S
        ],
        "base": base,
    }
    if page == "ward":
        _ward(shared, snapshot, mine, message)
    else:
        look = (page, subject, snapshot.version, shared.prober.newest.wall_s if page == "system" else 0.0)
        encoded = shared.contents.get(look, lambda: build(shared, snapshot))
        mine.digest = f"{page}-{hash(encoded) & 0xFFFFFFFFFFFF:x}"
        if mine.digest != base:
            message["content"] = msgspec.Raw(encoded)
    message["digest"] = mine.digest
    return msgspec.json.encode(message)


def _ward(shared: Runtime, snapshot: Snapshot, mine: Session, message: dict[str, Any]) -> None:
    """The whole ward, or what changed since this tab's last message; the same for all who saw the same."""
    before = mine.sent
    if before is not None and before.version == snapshot.version:
        return
    delta = b"null"
    if before is not None:
        look = ("ward", before.version, snapshot.version)
        delta = shared.contents.get(look, lambda: ward_view.changes(snapshot, before))
    if delta == b"null":
        whole = shared.contents.get(("ward", snapshot.version), lambda: ward_view.whole(snapshot))
        message["content"] = msgspec.Raw(whole)
    else:
        message["delta"] = msgspec.Raw(delta)
    mine.sent, mine.digest = snapshot, f"ward-{snapshot.version}"


def _perform(shared: Runtime, mine: Session, request: dict[str, Any]) -> None:
    wall_s = time.time()
    outcome = shared.desk.perform(request, shared.reader.snapshot, wall_s)
    if outcome.written:
        shared.metrics.actions[str(request.get("kind"))].inc()
    identity = f"{request.get('nonce', wall_s)}"
    mine.notices = [*mine.notices[-4:], (wall_s, identity, outcome.sentence, outcome.written)]


def _nothing() -> None:
    """Streamlit registers an event only with a callback; the fragment itself reads it."""
