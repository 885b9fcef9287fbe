"""What a person does in the browser arrives on `actions`, signed, about exactly what was seen."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import BrowserContext, Page

from dosetwin.platform import kafka_clients
from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Action,
    AlertAcknowledged,
    ApproveProposal,
    ChangeMode,
    RefuseProposal,
)
from tests.browser.conftest import LiveWard, open_page

pytestmark = [pytest.mark.broker, pytest.mark.browser]


def actions(live: LiveWard, wanted: str, timeout_s: float = 120.0) -> list[Action]:
    """The actions on the topic that speak of `wanted`, once there is one."""
    kafka = live.settings.kafka
    consumer = kafka_clients.consumer(kafka, "test-actions")
    consumer.subscribe([kafka.topic("actions")])
    found: list[Action] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not found:
        for batch in consumer.poll(timeout_ms=500).values():
            found += [decode(record.value, Action) for record in batch if wanted.encode() in record.value]
    consumer.close()
    return found


def fill_and_confirm(tab: Page, reason: str = "") -> None:
    tab.wait_for_selector("dialog.ask[open]")
    if reason:
        tab.locator("#ask-reason").fill(reason)
    tab.locator(".ask-confirm").click()


def test_approving_a_proposal_is_signed_and_its_life_line_goes_on(
    context: BrowserContext, live_ward: LiveWard
) -> None:
    bed = next(each for each in live_ward.ward.beds if each.mode == "advisory")
    with live_ward.lock:
        bed.commands = 100  # no further proposal of the ward's own may overtake this one
        proposal = live_ward.ward.propose(bed, live_ward.event_s(), amount=1.7)
        live_ward.ward.flush()
    tab = open_page(context, live_ward.url, "commands")
    if tab.locator(".more-wait").is_visible():
        tab.locator(".more-wait").click()
    card = tab.locator("article.wait", has_text="1.70 U/h").first
    card.locator("button.yes").click()
    facts = tab.locator(".ask-facts")
    tab.wait_for_selector("dialog.ask[open]")
    assert bed.patient in facts.inner_text()
    assert "Insulin 1.70 U/h" in facts.inner_text()
    fill_and_confirm(tab, "glucose rises after lunch")
    tab.wait_for_selector(".notice:has-text('Approved. Signed and written')")
    (action,) = actions(live_ward, proposal.id)
    live_ward.settings.action_verifier().verify(action)
    assert action.act == ApproveProposal(proposal_id=proposal.id)
    assert (action.patient, action.reason) == (bed.patient, "glucose rises after lunch")
    row = tab.locator(".line-rows tr", has_text="1.70 U/h").first
    row.locator(".stage:has-text('approved')").wait_for()
    with live_ward.lock:
        command = live_ward.ward.command(
            bed,
            live_ward.event_s(),
            live_ward.ward.forecast(bed, live_ward.event_s(), 1),
            proposal_id=proposal.id,
        )
        live_ward.ward.acknowledge(bed, command, live_ward.event_s(), "delivered")
        live_ward.ward.acknowledge(bed, command, live_ward.event_s() + 1, "applied")
        live_ward.ward.flush()
    tab.locator(".line-rows tr", has_text=proposal.device).locator(".stage.applied").first.wait_for()


def test_refusing_needs_a_reason(context: BrowserContext, live_ward: LiveWard) -> None:
    bed = next(each for each in live_ward.ward.beds if each.mode == "advisory")
    with live_ward.lock:
        proposal = live_ward.ward.propose(bed, live_ward.event_s(), amount=2.3)
        live_ward.ward.flush()
    tab = open_page(context, live_ward.url, "commands")
    if tab.locator(".more-wait").is_visible():
        tab.locator(".more-wait").click()
    tab.locator("article.wait", has_text="2.30 U/h").first.locator("button.do:not(.yes)").click()
    tab.wait_for_selector("dialog.ask[open]")
    assert tab.locator(".ask-confirm").is_disabled()
    fill_and_confirm(tab, "patient is about to exercise")
    (action,) = actions(live_ward, proposal.id)
    assert action.act == RefuseProposal(proposal_id=proposal.id)
    assert action.reason == "patient is about to exercise"


def test_acknowledging_an_alert_and_what_came_of_it(context: BrowserContext, live_ward: LiveWard) -> None:
    bed = live_ward.ward.beds[4]
    with live_ward.lock:
        raised = live_ward.ward.alert(
            bed, live_ward.event_s(), "stale_sensor", "medium", "No glucose for 20 min"
        )
        live_ward.ward.flush()
    tab = open_page(context, live_ward.url, "alerts")
    row = tab.locator(".open-rows tr", has_text="No glucose for 20 min")
    row.locator("button.do").click()
    fill_and_confirm(tab)
    (action,) = actions(live_ward, raised.alert)
    live_ward.settings.action_verifier().verify(action)
    assert action.act == AcknowledgeAlert(alert=raised.alert)
    row.locator("button.do:has-text('Sent')").wait_for()
    with live_ward.lock:
        seen = AlertAcknowledged(
            patient=bed.patient,
            alert=raised.alert,
            at=action.at,
            person=action.person,
            until=instant(live_ward.event_s() + 360_000),
            action_id=action.id,
        )
        live_ward.ward.send("alerts", bed.patient, seen, key=f"{raised.alert}/acknowledged")
        live_ward.ward.flush()
    tab.locator(".open-rows tr.seen", has_text="seen by demo clinician").wait_for()


def test_changing_the_mode_needs_a_reason_and_carries_the_version_seen(
    context: BrowserContext, live_ward: LiveWard
) -> None:
    bed = next(each for each in live_ward.ward.beds if each.mode == "shadow")
    tab = open_page(context, live_ward.url, f"patient?patient={bed.patient}")
    tab.locator(".mode.shadow").wait_for()
    tab.locator(".change-mode").click()
    tab.locator("#ask-select").select_option("advisory")
    assert tab.locator(".ask-confirm").is_disabled()
    fill_and_confirm(tab, "stable for two days")
    (action,) = actions(live_ward, '"kind":"mode"')
    live_ward.settings.action_verifier().verify(action)
    assert action.act == ChangeMode(mode="advisory", seen_version=1)
    assert action.patient == bed.patient
