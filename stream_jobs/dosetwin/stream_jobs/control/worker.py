"""The control app: a Faust worker that acts on enrolments, actions and doses, and watches the rest.

Raw bytes and msgspec; `noack_take` and an acknowledgement after everything that an event led to is on the
broker; no Table; the process ends on any unexpected error, for its supervisor to start it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import faust
import msgspec
from mode import Service

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decoder
from dosetwin.platform.contracts import Action, AlertRaised, DeadLetter, DeadLetterReason, Dose
from dosetwin.platform.errors import TopicError
from dosetwin.platform.metrics import ControlMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.topic_admin import topic_states
from dosetwin.platform.topics import ACTIONS, DOSES, MAXIMUM_RECORD_BYTES, Topic
from dosetwin.stream_jobs.control.actions import Unacceptable, obey
from dosetwin.stream_jobs.control.adherence import Adherence
from dosetwin.stream_jobs.control.commands import GRACE_S, command_messages
from dosetwin.stream_jobs.control.escalation import escalations
from dosetwin.stream_jobs.control.follower import Batch, Follower
from dosetwin.stream_jobs.control.silence import silences
from dosetwin.stream_jobs.control.state import ControlState, Order
from dosetwin.stream_jobs.control.writer import Writer

SWEEP_EVERY_S = 0.25
SILENCE_EVERY_S = 1.0
FORGET_AFTER_S = 7 * 86_400.0
GRACE_WALL_S = 2.0
"""How long a device's answer may be under way, wall time."""
BATCH_EVENTS = 500
SESSION_TIMEOUT_S = 6.0
"""The least a broker takes by default: so long a killed worker keeps its successor out of the group."""
FAILED = 70

_log = logging.getLogger(__name__)


class Background(Service):
    """Runs beside the Faust app, from before it joins its group.

    After a SIGKILL the group lets nobody in until the dead member's session is over; watchdogs do not wait.
    """

    def __init__(self, *jobs: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._jobs = jobs

    async def on_start(self) -> None:
        """Start the jobs."""
        for job in self._jobs:
            self.add_future(job())


class Control:
    """The app and its state; everything but the follower's reading happens on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka = settings.kafka
        self.clock = settings.platform_clock
        self.metrics = ControlMetrics()
        self.state = ControlState(self.clock)
        self.app = _faust_app(settings)
        self._verifier = settings.action_verifier()
        self._adherence = Adherence()
        self._known_until_wall_s: float | None = None
        self._heard_until_wall_s: float | None = None
        self._known = asyncio.Condition()
        self._stop = threading.Event()
        self._writer = Writer(settings, self._topic, self.state, self.metrics)
        for topic, handle in (
            (ACTIONS, self._on_action),
            (DOSES, self._on_dose),
        ):
            self.app.agent(self._topic(topic), name=f"control-{topic.name}")(self._agent(topic, handle))

    def _topic(self, topic: Topic) -> Any:
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        return self.app.topic(
            self.kafka.topic(topic.name), partitions=self.kafka.partitions, internal=False, **raw
        )

    # --- reading -------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()

        def deliver(batch: Batch) -> dict[int, Order]:
            return asyncio.run_coroutine_threadsafe(self._fold(batch), loop).result()

        def listening(since_s: float) -> None:
            self.state.listening_since_s = since_s

        def run() -> None:
            try:
                Follower(self.settings, deliver, listening).run(self._stop)
            except BaseException as error:
                if not self._stop.is_set():
                    self.die(error)

        threading.Thread(target=run, name="control-follower", daemon=True).start()

    async def _fold(self, batch: Batch) -> dict[int, Order]:
        state = self.state
        for enrolment, appended_s in batch.enrolments:
            state.enrolment(enrolment, appended_s)
        for alert in batch.alerts:
            state.alert(alert)
        for order in batch.orders:
            state.order(order)
        for answer in batch.answers:
            state.answer(answer)
        for action in batch.actions:
            state.act(action)
        state.readings(batch.heard_s)
        for topic, count in batch.records.items():
            self.metrics.events[topic].inc(count)
        self.metrics.lag_records.set(batch.lag_records)
        self._heard_until_wall_s = batch.heard_until_wall_s
        if batch.known_until_wall_s != self._known_until_wall_s:
            async with self._known:
                if self._known_until_wall_s is None:
                    _log.info(
                        "caught up: %d patients, %d alerts, %d open orders",
                        len(state.enrolments),
                        len(state.book),
                        len(state.orders),
                    )
                self._known_until_wall_s = batch.known_until_wall_s
                self._known.notify_all()
        return state.oldest_orders()

    async def _knows(self, wall_s: float) -> None:
        """Wait until everything that the broker took before this wall time is folded."""
        async with self._known:
            await self._known.wait_for(
                lambda: self._known_until_wall_s is not None and self._known_until_wall_s >= wall_s
            )

    # --- acting on events ----------------------------------------------------------------------------

    def _agent(self, topic: Topic, handle: Callable[[Any], Awaitable[None]]) -> Callable[..., Any]:
        async def agent(stream: Any) -> None:
            async for events in stream.noack_take(BATCH_EVENTS, within=0.05):
                try:
                    await self._knows(max(event.message.timestamp for event in events))
                    for event in events:
                        if event.value is not None and len(event.value) <= MAXIMUM_RECORD_BYTES:
                            await handle(event)
                        event.ack()
                except Exception as error:
                    self.die(error)
                if topic is DOSES:
                    self.metrics.events[topic.name].inc(len(events))

        return agent

    async def _on_action(self, event: Any) -> None:
        try:
            action: Action = decoder(Action).decode(event.value)
        except msgspec.DecodeError:
            return
        try:
            messages = obey(self.state, action, self._verifier, self.settings.control)
        except Unacceptable as refused:
            await self._refuse(ACTIONS, event, refused.reason, refused.detail, action.patient)
        else:
            await self._writer.write(messages)

    async def _on_dose(self, event: Any) -> None:
        try:
            dose: Dose = decoder(Dose).decode(event.value)
        except msgspec.DecodeError:
            return
        source = f"{DOSES.name}/{event.message.partition}:{event.message.offset}"
        messages = self._adherence.take(dose, source, self.state)
        self.metrics.missed_doses.inc(sum(isinstance(message, AlertRaised) for message in messages))
        await self._writer.write(messages)

    async def _refuse(
        self, topic: Topic, event: Any, reason: DeadLetterReason, detail: str, patient: str
    ) -> None:
        self.metrics.rejects[reason].inc()
        letter = DeadLetter(
            reason=reason,
            detail=detail,
            topic=topic.name,
            partition=event.message.partition,
            offset=event.message.offset,
            at=instant(self.clock.event_s(event.message.timestamp)),
            payload=event.value,
            key=event.key or b"",
            patient=patient,
        )
        await self._writer.write([letter])

    # --- acting on time ------------------------------------------------------------------------------

    async def _watch(self) -> None:
        silence_due_s = 0.0
        loop = asyncio.get_running_loop()
        grace_s = max(GRACE_S, GRACE_WALL_S * self.clock.speed)
        control = self.settings.control
        try:
            await self._knows(0.0)
            while not self.app.should_stop:
                assert self._known_until_wall_s is not None
                known_until_s = self.clock.event_s(self._known_until_wall_s)
                messages, settled = command_messages(self.state, known_until_s, control, grace_s)
                await self._writer.write(messages)
                for order in settled:
                    self.state.settle(order)
                await self._writer.write(escalations(self.state, known_until_s, control))
                if loop.time() >= silence_due_s:
                    silence_due_s = loop.time() + SILENCE_EVERY_S
                    if self._heard_until_wall_s is not None:
                        heard_until_s = self.clock.event_s(self._heard_until_wall_s)
                        await self._writer.write(silences(self.state, heard_until_s, control))
                    self.state.forget(known_until_s - FORGET_AFTER_S)
                    self._gauges()
                await asyncio.sleep(SWEEP_EVERY_S)
        except Exception as error:
            if not self.app.should_stop:
                self.die(error)
        finally:
            self._stop.set()

    def _gauges(self) -> None:
        now = self.clock.now()
        counts = {"high": 0, "medium": 0, "low": 0}
        for alert in self.state.open_alerts():
            counts[alert.priority(now)] += 1
        for priority, count in counts.items():
            self.metrics.open_alerts[priority].set(count)
        self.metrics.open_commands.set(len(self.state.orders))

    # --- life ----------------------------------------------------------------------------------------

    def die(self, error: BaseException) -> None:
        """End the process at once: nothing half-done goes on, the next start reads everything back."""
        _log.critical("the control app ends: %r", error, exc_info=error)
        logging.shutdown()
        os._exit(FAILED)

    def run(self, loglevel: str = "INFO") -> None:
        """Check the topics, serve metrics, and work until SIGINT or SIGTERM."""
        check_topics(self.settings)
        (self.settings.data_dir / "control").mkdir(parents=True, exist_ok=True)
        with self.metrics:
            self.metrics.serve(self.settings.metrics.address, self.settings.metrics.control_port)
            for chatty in ("kafka", "aiokafka", "faust", "mode"):
                logging.getLogger(chatty).setLevel(logging.WARNING)
            worker = faust.Worker(
                self.app,
                Background(self._follow, self._watch),
                loglevel=loglevel,
                quiet=True,
                redirect_stdouts=False,
            )
            worker.execute_from_commandline()


def check_topics(settings: Settings) -> None:
    """Raise TopicError unless every topic exists: Faust needs them there before it starts."""
    missing = [state.name for state in topic_states(settings.kafka) if state.state == "missing"]
    if missing:
        raise TopicError(
            f"{len(missing)} topics are not on {settings.kafka.bootstrap}: {', '.join(missing)}",
            remedy="declare them with `dosetwin topics` and start again",
        )


def _faust_app(settings: Settings) -> Any:
    return faust.App(
        settings.kafka.group("control"),
        broker=[f"kafka://{server}" for server in settings.kafka.bootstrap.split(",")],
        store="memory://",
        datadir=str(settings.data_dir / "control"),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_rebalance_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=1.0,
        producer_acks=-1,
        worker_redirect_stdouts=False,
    )
