"""The fleet at work: one loop that lives, sends, and answers commands, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable

import msgspec

from dosetwin.platform.codec import encode
from dosetwin.platform.errors import SettingsError
from dosetwin.platform.kafka_clients import admin
from dosetwin.platform.metrics import FleetMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import DOSES, ENROLMENTS, READINGS
from dosetwin.stream_jobs.fleet.counters import summary
from dosetwin.stream_jobs.fleet.diabetes_ward import DiabetesWard
from dosetwin.stream_jobs.fleet.draining import unread
from dosetwin.stream_jobs.fleet.infection_ward import InfectionWard
from dosetwin.stream_jobs.fleet.outgoing import Outgoing
from dosetwin.stream_jobs.fleet.people import admit
from dosetwin.stream_jobs.fleet.plan import FleetPlan
from dosetwin.stream_jobs.fleet.ward import Ward
from dosetwin.stream_jobs.gateway.device import CommandedDevice
from dosetwin.stream_jobs.gateway.gateway import Gateway
from dosetwin.stream_jobs.gateway.memory import DeviceMemory
from dosetwin.stream_jobs.gateway.sender import Sender

_log = logging.getLogger(__name__)
PLANT_STEP_S = 60.0
TURN_S = 0.04
"""Wall seconds of a turn of the loop; a message leaves at most this late. Commands wake it at once."""
WARDS: dict[str, type[DiabetesWard] | type[InfectionWard]] = {
    "t1d-insulin": DiabetesWard,
    "vancomycin": InfectionWard,
}


def tick_event_s(speed: float) -> float:
    """Event seconds of a tick: a wall second, shorter where that would be more than a substep of a plant."""
    wall_s = min(max(PLANT_STEP_S / speed, 0.25), 1.0)
    return speed * wall_s


class Fleet:
    """Patients, devices and their gateway in one process and one thread.

    `run` returns the counters. `progress` is told (event time reached, wall seconds streamed) at each tick.
    """

    def __init__(
        self,
        settings: Settings,
        plan: FleetPlan,
        *,
        metrics: FleetMetrics | None = None,
        progress: Callable[[dict[str, int]], None] = lambda counts: None,
    ) -> None:
        self._settings, self._plan, self._progress = settings, plan, progress
        self._clock = settings.platform_clock
        self._tick_s = tick_event_s(self._clock.speed)
        self._metrics = metrics or FleetMetrics("fleet")
        self._boot = uuid.uuid4().hex[:12]
        self._told: dict[str, int] = {}

    def run(self, stop: threading.Event) -> dict[str, object]:
        """Enrol, stream until `stop` is set or the plan's time is over, drain; returns the counters."""
        settings, plan = self._settings, self._plan
        memory = DeviceMemory(plan.state_dir / "fleet.sqlite")
        sender = Sender(settings.kafka, "dosetwin-fleet")
        gateway: Gateway | None = None
        try:
            self._same_cluster(memory)
            start_s, fresh = self._begun(memory)
            out = Outgoing(memory, sender, plan.faults)
            people = admit(plan, settings.pseudonym_key())
            wards: list[Ward] = [
                WARDS[therapy](
                    who, plan.faults, plan.seed + 1000 * i, self._boot, start_s - WARDS[therapy].warm_up_s
                )
                for i, (therapy, who) in enumerate(people.items())
            ]
            devices: dict[tuple[str, str], CommandedDevice] = {}
            for ward in wards:
                devices.update(ward.devices)
            for therapy, who in people.items():
                self._metrics.patients[therapy].set(len(who))
            gateway = Gateway(settings, memory, devices, sender, boot=self._boot, metrics=self._metrics)
            gateway.open()
            if fresh:
                self._warm_up(wards, out)
            else:
                self._restore(memory, wards)
            self._enrol(gateway, sender, wards)
            if fresh:
                self._admit(memory, wards, out)
            began = time.monotonic()
            self._stream(stop, memory, gateway, wards, out, began)
            self._drain(gateway)
            sender.flush()
            gateway.poll(0.0)
            return summary(
                {therapy: len(who) for therapy, who in people.items()},
                out.counts,
                gateway.answers,
                gateway.refusals,
                time.monotonic() - began,
            )
        finally:
            if gateway is not None:
                gateway.close()
            sender.close()
            memory.close()

    def _same_cluster(self, memory: DeviceMemory) -> None:
        """Offsets mean nothing on another cluster (a broker started afresh): forget them there."""
        client = admin(self._settings.kafka, "dosetwin-fleet-admin")
        try:
            found = str(client.describe_cluster().get("cluster_id", "")).encode()
        finally:
            client.close()
        name = found + b"/" + self._settings.kafka.topic_prefix.encode()
        with memory.transaction():
            if memory.note("cluster") not in (None, name):
                _log.warning("the fleet's state comes from another cluster: starting its streams anew")
                memory.forget_stream()
            memory.set_note("cluster", name)

    def _begun(self, memory: DeviceMemory) -> tuple[float, bool]:
        """(event time of the fleet's first start, whether it has never streamed yet)."""
        fingerprint = self._plan.fingerprint().encode()
        kept, started = memory.note("fingerprint"), memory.note("start")
        if kept is not None and kept != fingerprint:
            raise SettingsError(
                f"{self._plan.state_dir} holds the fleet {kept.decode()}; "
                f"asked for is {fingerprint.decode()}",
                remedy="use the same --patients, --therapy-mix, --mode and --seed, or another --state-dir",
            )
        if started is not None and memory.note("streaming") is not None:
            return msgspec.msgpack.decode(started, type=float), False
        start_s = self._clock.event_s()
        with memory.transaction():
            memory.set_note("fingerprint", fingerprint)
            memory.set_note("start", msgspec.msgpack.encode(start_s))
        return start_s, True

    def _warm_up(self, wards: list[Ward], out: Outgoing) -> None:
        """Live unheard until the plants have caught up with the clock."""
        out.silent = True
        for ward in sorted(wards, key=lambda ward: ward.warm_up_s, reverse=True):
            while (to_s := ward.time_s + ward.substep_s) <= self._clock.event_s():
                ward.advance(to_s, out)
        out.silent = False

    def _restore(self, memory: DeviceMemory, wards: list[Ward]) -> None:
        for ward in wards:
            kept = memory.note(f"ward {ward.therapy}")
            if kept is not None:
                ward.load(kept)

    def _enrol(self, gateway: Gateway, sender: Sender, wards: list[Ward]) -> None:
        """Enrol everybody whom the topic does not know, and wait until Kafka has it."""
        gateway.learn_enrolments()
        new = [
            enrolment
            for ward in wards
            for enrolment in ward.enrolments(ward.time_s)
            if gateway.version_of(enrolment.patient) == 0
        ]
        futures = [sender.send(ENROLMENTS.name, each.patient, encode(each)) for each in new]
        sender.flush()
        for future in futures:
            future.get(timeout=30)
        gateway.learn_enrolments()

    def _admit(self, memory: DeviceMemory, wards: list[Ward], out: Outgoing) -> None:
        now_s = self._clock.event_s()
        out.begin((self._plan.seed, 0), now_s, 0.0)
        with memory.transaction():
            for ward in wards:
                ward.admission(out, now_s)
            self._checkpoint(memory, wards)
            memory.set_note("streaming", b"1")
        out.committed()

    def _stream(
        self,
        stop: threading.Event,
        memory: DeviceMemory,
        gateway: Gateway,
        wards: list[Ward],
        out: Outgoing,
        began: float,
    ) -> None:
        ends = None if self._plan.for_s is None else began + self._plan.for_s
        while not stop.is_set() and (ends is None or time.monotonic() < ends):
            now_s = self._clock.event_s()
            next_s = min(ward.time_s for ward in wards) + self._tick_s
            if now_s >= next_s:
                self._tick(next_s, now_s, memory, wards, out)
                next_s += self._tick_s
            out.send_due(self._clock.event_s())
            wait_s = self._clock.sleep_s(next_s - self._clock.event_s())
            gateway.poll(min(max(wait_s, 0.0), TURN_S))

    def _tick(
        self, to_s: float, now_s: float, memory: DeviceMemory, wards: list[Ward], out: Outgoing
    ) -> None:
        """Advance everybody to `to_s`: one transaction, then its letters."""
        behind_s = now_s - to_s
        self._metrics.behind_seconds.set(self._clock.sleep_s(behind_s))
        out.begin((self._plan.seed, int(to_s)), now_s, self._tick_s)
        out.muted = behind_s > max(10 * self._tick_s, 600.0)
        with self._metrics.step_seconds.time(), memory.transaction():
            for ward in wards:
                if ward.time_s < to_s:
                    ward.advance(to_s, out)
            self._checkpoint(memory, wards)
        out.committed()
        self._count(out)

    def _checkpoint(self, memory: DeviceMemory, wards: list[Ward]) -> None:
        for ward in wards:
            for patient, device in ward.changed_devices():
                memory.store_device(patient, device, ward.devices[patient, device].dump())
            memory.set_note(f"ward {ward.therapy}", ward.dump())

    def _count(self, out: Outgoing) -> None:
        """Carry the counts over into the metrics, and show progress."""
        for name, count in out.counts.items():
            new = count - self._told.get(name, 0)
            self._told[name] = count
            if name in (READINGS.name, DOSES.name):
                self._metrics.sent[name].inc(new)
            elif name != "samples":
                self._metrics.faults[name].inc(new)
        self._progress(dict(out.counts))

    def _drain(self, gateway: Gateway) -> None:
        """Go on answering while commands may come (wall seconds: `drain_s` at most).

        That is until the shards have read everything that was sent and none has come for `quiet_s`.
        """
        began = time.monotonic()
        while time.monotonic() - began < self._plan.drain_s:
            gateway.poll(TURN_S)
            quiet_since = max(gateway.last_command_wall_s, began)
            if time.monotonic() - quiet_since > self._plan.quiet_s:
                if unread(self._settings.kafka) == 0:
                    break
                began_again = time.monotonic() + 1.0
                while time.monotonic() < began_again:
                    gateway.poll(TURN_S)
