"""A ward that is written, not simulated: plausible contract messages of N patients, for looking at screens.

No twin, no shard, no plant stands behind it. `python tests/dashboards/synthetic_ward.py --bootstrap ... `
writes one step a second until Ctrl-C; tests call `enrol`, `prefill` and `step` themselves.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from datetime import timedelta

from dosetwin.platform import kafka_clients
from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    Administration,
    AlertCleared,
    AlertRaised,
    Band,
    Bolus,
    Candidate,
    Command,
    DeadLetter,
    Decision,
    Dose,
    EnrolledDevice,
    Enrolment,
    Estimate,
    Forecast,
    Infusion,
    Measure,
    Mode,
    Order,
    Precondition,
    Prediction,
    Proposal,
    RateChange,
    Reading,
    Refusal,
    Sample,
)
from dosetwin.platform.contracts.event import Event
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topics import partition_of

STEP_S = 300.0
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MODES: tuple[Mode, ...] = ("autonomous", "autonomous", "advisory", "shadow")


class Bed:
    """One patient's made-up course."""

    def __init__(self, index: int, key: bytes) -> None:
        self.random = random.Random(index)
        self.patient = pseudonym(f"synthetic-{index}", key)
        self.therapy = "vancomycin" if index % 4 == 3 else "t1d-insulin"
        self.mode = (
            MODES[index % len(MODES)]
            if self.therapy == "t1d-insulin"
            else ("advisory", "shadow")[index % 8 // 4]
        )
        self.ward = ("Ward 4 East", "Ward 4 West", "Intensive care")[index % 3]
        self.phase = self.random.uniform(0, 2 * math.pi)
        self.base = self.random.gauss(140, 25) if index % 9 else 68.0
        self.swing = self.random.uniform(8, 45)
        self.sequence = 0
        self.commands = 0
        self.low = False
        self.raised: AlertRaised | None = None

    def glucose(self, at_s: float) -> float:
        """mg/dL at an event time: two waves and a little noise, deterministic but for the noise."""
        hour = at_s / 3600.0
        wave = math.sin(2 * math.pi * hour / 5.0 + self.phase) + 0.4 * math.sin(2 * math.pi * hour / 1.7)
        value = self.base + self.swing * wave + self.random.gauss(0, 2.5)
        return 45.0 + abs(value - 45.0)  # reflected, so that it moves at the edge too

    def vancomycin(self, at_s: float) -> float:
        """mg/L at an event time: a dose each 12 h, one-compartment decline."""
        since_h = (at_s / 3600.0 + self.phase) % 12.0
        return 6.0 + 24.0 * math.exp(-0.14 * since_h)

    def heart_rate(self, at_s: float) -> float:
        """/min at an event time."""
        return 76.0 + 7.0 * math.sin(at_s / 2400.0 + self.phase) + self.random.gauss(0, 1.5)


class SyntheticWard:
    """Writes what devices, shards and the control app would write for N patients."""

    def __init__(self, settings: Settings, patients: int, seed: int = 0) -> None:
        self.settings = settings
        self.kafka: KafkaSettings = settings.kafka
        self.signer = settings.command_signer()
        self.beds = [Bed(index + seed, b"0" * 32) for index in range(patients)]
        self.producer = kafka_clients.producer(self.kafka, "synthetic-ward", linger_ms=20)
        self.steps = 0

    def close(self) -> None:
        """Flush and let go of the broker."""
        self.producer.flush(30)
        self.producer.close(timeout=5)

    def flush(self) -> None:
        """Wait until everything written is on the broker."""
        self.producer.flush(60)

    def send(self, topic: str, patient: str, message: Event | DeadLetter, key: str = "") -> None:
        """Write one message to a topic."""
        self.producer.send(
            self.kafka.topic(topic),
            key=(key or patient).encode(),
            value=encode(message),
            partition=partition_of(patient, self.kafka.partitions),
        )

    def enrol(self, at_s: float) -> None:
        """Enrol everybody."""
        for bed in self.beds:
            insulin = bed.therapy == "t1d-insulin"
            tail = bed.patient[2:6]
            devices = (
                (
                    EnrolledDevice(device=f"cgm-{tail}", kind="cgm"),
                    EnrolledDevice(device=f"pump-{tail}", kind="insulin_pump", commands=True),
                )
                if insulin
                else (
                    EnrolledDevice(device=f"infusion-{tail}", kind="infusion_pump", commands=True),
                    EnrolledDevice(device="laboratory", kind="laboratory"),
                )
            )
            enrolment = Enrolment(
                patient=bed.patient,
                version=1,
                therapy=bed.therapy,
                mode=bed.mode,
                at=instant(at_s),
                ward=bed.ward,
                covariates={"weight": Measure(72.0, "kg"), "age": Measure(41.0, "a")},
                devices=devices,
            )
            self.send("enrolments", bed.patient, enrolment)

    def prefill(self, at_s: float, hours: float = 8.0) -> None:
        """Write the hours before `at_s`: readings in few records, doses, a forecast an hour."""
        n = int(hours * 3600 / STEP_S)
        for bed in self.beds:
            times = [at_s - (n - index) * STEP_S for index in range(n)]
            samples = tuple(sample for each in times for sample in self._samples(bed, each))
            for start in range(0, len(samples), 900):
                self.send("readings", bed.patient, self._reading(bed, at_s, samples[start : start + 900]))
            for index, each in enumerate(times):
                self._doses(bed, each, index)
                if index % 6 == 0:
                    self.send("forecasts", bed.patient, self.forecast(bed, each, index))

    def step(self, at_s: float) -> None:
        """One step of everybody: reading, doses, forecast, now and then a command or an alert."""
        self.steps += 1
        for index, bed in enumerate(self.beds):
            self.send("readings", bed.patient, self._reading(bed, at_s, tuple(self._samples(bed, at_s))))
            self._doses(bed, at_s, self.steps)
            forecast = self.forecast(bed, at_s, self.steps)
            self.send("forecasts", bed.patient, forecast)
            if forecast.decision is not None and (self.steps + index) % 6 == 0:
                self._orders(bed, at_s, forecast)
            self._alerts(bed, at_s, forecast)
        if self.steps % 7 == 0:
            self._dead_letter(at_s)

    def run(self, clock: PlatformClock, seconds: float) -> None:
        """A step each wall second, at the clock's event time."""
        end = time.time() + seconds
        while time.time() < end:
            started = time.time()
            self.step(clock.event_s())
            self.flush()
            time.sleep(max(0.0, 1.0 - (time.time() - started)))

    def forecast(self, bed: Bed, at_s: float, step: int) -> Forecast:
        """A forecast with bands over four hours and a decision with its candidates."""
        insulin = bed.therapy == "t1d-insulin"
        points, step_s = (25, 600.0) if insulin else (37, 1200.0)
        times = [at_s + index * step_s for index in range(points)]
        course = bed.glucose if insulin else bed.vancomycin
        middle = [course(each) for each in times]
        spread = [4.0 + 2.2 * index if insulin else 1.0 + 0.06 * index for index in range(points)]
        main = Band(
            quantity="glucose" if insulin else "vancomycin",
            unit="mg/dL" if insulin else "mg/L",
            start=instant(at_s),
            step_s=step_s,
            quantiles=QUANTILES,
            values=[
                [round(max(m + z * s, 0.1), 2) for m, s in zip(middle, spread, strict=True)]
                for z in (-1.6, -0.7, 0.0, 0.7, 1.6)
            ],
        )
        bands = [main]
        if insulin:
            plasma = [9.0 + 5.0 * math.sin(each / 3600.0 + bed.phase) for each in times]
            bands.append(
                Band(
                    quantity="plasma_insulin",
                    unit="mU/L",
                    start=instant(at_s),
                    step_s=step_s,
                    quantiles=QUANTILES,
                    values=[[round(max(p * f, 0.1), 2) for p in plasma] for f in (0.7, 0.85, 1.0, 1.2, 1.4)],
                )
            )
        lowest = min(middle)
        low_risk = 1.0 / (1.0 + math.exp((lowest - 70.0) / 8.0)) if insulin else 0.04
        event = next((t - at_s for t, m in zip(times, middle, strict=True) if insulin and m < 70.0), None)
        observed = middle[0]
        estimate = Estimate(median=1.4 + 0.6 * math.sin(at_s / 5000 + bed.phase), low=0.9, high=2.4, unit="U")
        return Forecast(
            patient=bed.patient,
            therapy=bed.therapy,
            model=f"{bed.therapy}/1",
            at=instant(at_s),
            source=f"readings/{partition_of(bed.patient, self.kafka.partitions)}:{step}",
            bands=tuple(bands),
            predictions=(
                Prediction(
                    quantity=main.quantity,
                    unit=main.unit,
                    at=instant(at_s),
                    observed=observed,
                    median=observed * 1.02,
                    low=observed * 0.88,
                    high=observed * 1.14,
                    population=observed * 1.1,
                ),
            ),
            estimates={
                **({"insulin_on_board": estimate} if insulin else {}),
                **(
                    {"insulin_sensitivity": Estimate(median=46.0, low=38.0, high=55.0, unit="mg/dL")}
                    if insulin
                    else {"CL": Estimate(median=3.9, low=3.1, high=4.8, unit="L/h")}
                ),
            },
            risks=(
                {"below_70": low_risk, "below_54": low_risk**2, "above_250": 0.02}
                if insulin
                else {"auc_above_600": 0.08, "auc_below_400": 0.21}
            ),
            attainment=max(0.02, 0.93 - low_risk),
            time_to_event_s=event,
            decision=self._decision(bed, at_s, step, low_risk),
        )

    def _decision(self, bed: Bed, at_s: float, step: int, low_risk: float) -> Decision:
        drug, route, kind, unit = (
            ("insulin", "subcutaneous", "rate", "U/h")
            if bed.therapy == "t1d-insulin"
            else ("vancomycin", "intravenous", "regimen", "mg")
        )
        plans = (
            (("suspend", 0.0), ("basal x 0.5", 0.45), ("basal x 1", 0.9), ("basal x 1.5", 1.35))
            if kind == "rate"
            else (("750 mg q12h", 750.0), ("1000 mg q12h", 1000.0), ("1250 mg q12h", 1250.0))
        )
        candidates = tuple(
            Candidate(
                name=name,
                orders=(
                    Order(
                        drug=drug,
                        route=route,
                        kind=kind,  # type: ignore[arg-type]  # one of the literals above
                        amount=amount,
                        unit=unit,
                        duration_s=1800.0 if kind == "rate" else 5400.0,
                        interval_s=0.0 if kind == "rate" else 43_200.0,
                    ),
                ),
                utility=round(-abs(index - (0 if low_risk > 0.3 else 2)) - low_risk, 3),
                attainment=max(0.05, 0.9 - 0.2 * abs(index - 2)),
                risks={"below_70": min(1.0, low_risk * (1 + index / 2)), "above_250": 0.02 * (4 - index)},
                feasible=not (low_risk > 0.3 and index > 1),
            )
            for index, (name, amount) in enumerate(plans)
        )
        best = max(candidates, key=lambda each: (each.feasible, each.utility))
        cut = low_risk > 0.3
        outcome = {"autonomous": "command", "advisory": "proposal", "shadow": "shadow"}[bed.mode]
        return Decision(
            id=identifier(bed.patient, step, "decision"),
            at=instant(at_s),
            outcome=outcome,  # type: ignore[arg-type]  # one of the literals above
            chosen=best.name,
            orders=best.orders,
            reason=(
                f"Glucose is likely to fall below 70 mg/dL ({low_risk:.0%}); insulin is held back."
                if cut
                else "The forecast stays in target; the usual dose has the best expected outcome."
            ),
            candidates=candidates,
            refusals=(
                (
                    Refusal(
                        limit="predicted_low",
                        value=round(low_risk, 2),
                        bound=0.3,
                        unit="1",
                        effect="reduced",
                        reason="the lower edge of the forecast crosses 70 mg/dL within 60 min",
                        source="therapy t1d-insulin, limit predicted_low_risk",
                    ),
                )
                if cut
                else ()
            ),
            evidence={"glucose_mg_dL": round(bed.glucose(at_s), 1), "insulin_on_board_U": 1.6},
            would_change="a reading 15 mg/dL higher would have left the basal rate as programmed",
        )

    def propose(self, bed: Bed, at_s: float, amount: float = 1.2) -> Proposal:
        """Write a proposal that waits for a person."""
        bed.commands += 1
        proposal = Proposal(
            patient=bed.patient,
            id=identifier(bed.patient, at_s, bed.commands, "proposal"),
            device=f"pump-{bed.patient[2:6]}",
            orders=(
                Order(
                    drug="insulin",
                    route="subcutaneous",
                    kind="rate",
                    amount=amount,
                    unit="U/h",
                    duration_s=1800.0,
                ),
            ),
            proposed_at=instant(at_s),
            expires_at=instant(at_s + 4 * 3600.0),
            enrolment_version=1,
            decision_id=identifier(bed.patient, at_s, "decision"),
            source="readings/0:1",
            reason="Glucose rises above target; a higher basal rate brings it back with little risk.",
        )
        self.send("commands", bed.patient, proposal)
        return proposal

    def command(
        self, bed: Bed, at_s: float, forecast: Forecast, *, proposal_id: str | None = None
    ) -> Command:
        """Write a signed command and what the device says of it."""
        bed.commands += 1
        assert forecast.decision is not None
        command = self.signer.sign(
            Command(
                patient=bed.patient,
                id=identifier(bed.patient, at_s, bed.commands, "command"),
                device=f"pump-{bed.patient[2:6]}",
                orders=forecast.decision.orders,
                issued_at=instant(at_s),
                expires_at=instant(at_s + 600.0),
                precondition=Precondition(enrolment_version=1),
                decision_id=forecast.decision.id,
                source=forecast.source,
                proposal_id=proposal_id,
            )
        )
        self.send("commands", bed.patient, command)
        return command

    def acknowledge(self, bed: Bed, command: Command, at_s: float, status: str, reason: str = "") -> None:
        """Write what a device did with a command."""
        bed.sequence += 1
        self.send(
            "acknowledgements",
            bed.patient,
            Acknowledgement(
                patient=bed.patient,
                device=command.device,
                boot="b1",
                sequence=bed.sequence,
                sent_at=instant(at_s),
                command_id=command.id,
                status=status,  # type: ignore[arg-type]  # one of the literals
                at=instant(at_s),
                reason=reason,
                application_id=identifier(command.id, status) if status == "applied" else "",
            ),
        )

    def alert(self, bed: Bed, at_s: float, kind: str, priority: str, message: str) -> AlertRaised:
        """Raise an alert."""
        raised = AlertRaised(
            patient=bed.patient,
            alert=identifier(bed.patient, kind, int(at_s)),
            at=instant(at_s),
            kind=kind,
            priority=priority,  # type: ignore[arg-type]  # one of the literals
            message=message,
            evidence={"below_70": 0.62},
        )
        self.send("alerts", bed.patient, raised, key=f"{raised.alert}/raised")
        return raised

    def _orders(self, bed: Bed, at_s: float, forecast: Forecast) -> None:
        if bed.mode == "advisory" and bed.commands < 2:
            self.propose(bed, at_s)
        elif bed.mode == "autonomous":
            command = self.command(bed, at_s, forecast)
            self.acknowledge(bed, command, at_s + 2, "delivered")
            refused = bed.random.random() < 0.1
            final, reason = ("refused", "precondition") if refused else ("applied", "")
            self.acknowledge(bed, command, at_s + 5, final, reason)

    def _alerts(self, bed: Bed, at_s: float, forecast: Forecast) -> None:
        risk = forecast.risks.get("below_70", 0.0)
        if risk > 0.6 and not bed.low:
            bed.low = True
            message = f"Glucose below 70 mg/dL within 4 h is likely ({risk:.0%})"
            bed.raised = self.alert(bed, at_s, "predicted_low", "high", message)
        elif risk < 0.2 and bed.low and bed.raised is not None:
            bed.low = False
            cleared = AlertCleared(patient=bed.patient, alert=bed.raised.alert, at=instant(at_s))
            self.send("alerts", bed.patient, cleared, key=f"{bed.raised.alert}/cleared")
        if bed.therapy == "vancomycin" and self.steps == 2 and bed.random.random() < 0.3:
            self.alert(bed, at_s, "low_attainment", "medium", "AUC24 below 400 mg.h/L is likelier than not")
        if bed.mode == "advisory" and self.steps == 3 and bed.random.random() < 0.4:
            self.alert(bed, at_s, "advice_waiting", "low", "A dose proposal waits for approval")

    def _dead_letter(self, at_s: float) -> None:
        reasons = ("unknown_unit", "impossible_value", "duplicate", "malformed")
        reason = reasons[self.steps // 7 % len(reasons)]
        letter = DeadLetter(
            reason=reason,  # type: ignore[arg-type]  # one of the literals
            detail={"unknown_unit": "found unit 'mg%'; expected mg/dL or mmol/L"}.get(
                reason, f"{reason} found"
            ),
            topic="readings",
            partition=0,
            offset=self.steps,
            at=instant(at_s),
            payload=b'{"type":"reading","samples":[{"unit":"mg%"}]}',
            patient=self.beds[0].patient,
        )
        self.send("dead-letters", self.beds[0].patient, letter)

    def _reading(self, bed: Bed, sent_s: float, samples: tuple[Sample, ...]) -> Reading:
        bed.sequence += 1
        return Reading(
            patient=bed.patient,
            device=f"cgm-{bed.patient[2:6]}",
            boot="b1",
            sequence=bed.sequence,
            sent_at=instant(sent_s),
            samples=samples,
        )

    def _samples(self, bed: Bed, at_s: float) -> Iterator[Sample]:
        at = instant(at_s)
        if bed.therapy == "t1d-insulin":
            yield Sample(quantity="glucose", value=round(bed.glucose(at_s), 0), unit="mg/dL", at=at)
        elif int(at_s // STEP_S) % 72 == 0:
            yield Sample(quantity="vancomycin", value=round(bed.vancomycin(at_s), 1), unit="mg/L", at=at)
        yield Sample(quantity="heart_rate", value=round(bed.heart_rate(at_s)), unit="/min", at=at)
        if int(at_s // STEP_S) % 3 == 0:
            pressure = 122.0 + bed.random.gauss(0, 4)
            yield Sample(quantity="systolic_pressure", value=round(pressure), unit="mm[Hg]", at=at)
            yield Sample(quantity="diastolic_pressure", value=round(pressure - 44), unit="mm[Hg]", at=at)

    def _doses(self, bed: Bed, at_s: float, step: int) -> None:
        at = instant(at_s)
        given: list[Administration] = []
        if bed.therapy == "t1d-insulin":
            if step % 6 == 0:
                rate = round(0.9 + 0.3 * math.sin(at_s / 7000.0 + bed.phase), 2)
                given.append(RateChange(drug="insulin", route="subcutaneous", rate=rate, unit="U/h", at=at))
            if step % 36 == 5:
                given.append(Bolus(drug="insulin", route="subcutaneous", amount=3.5, unit="U", at=at))
        elif step % 144 == 0:
            start = at - timedelta(minutes=90)
            given.append(
                Infusion(
                    drug="vancomycin",
                    route="intravenous",
                    amount=1000.0,
                    unit="mg",
                    at=start,
                    duration_s=5400.0,
                )
            )
        if not given:
            return
        bed.sequence += 1
        dose = Dose(
            patient=bed.patient,
            device=f"pump-{bed.patient[2:6]}",
            boot="b1",
            sequence=bed.sequence,
            sent_at=at,
            administrations=tuple(given),
        )
        self.send("doses", bed.patient, dose)


def main() -> None:
    """Write a ward to a broker, one step a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=3600.0)
    options = parser.parse_args()
    from dosetwin.platform.settings import load_settings

    settings = load_settings()
    ward = SyntheticWard(settings, options.patients)
    clock = settings.platform_clock
    ward.enrol(clock.event_s())
    ward.prefill(clock.event_s(), options.hours)
    ward.flush()
    ward.run(clock, options.seconds)
    ward.close()


if __name__ == "__main__":
    main()
