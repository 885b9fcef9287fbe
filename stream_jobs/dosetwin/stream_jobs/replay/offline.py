"""The same replay without Kafka: the bank as a library, fed the same messages. The oracle of the stream."""

from __future__ import annotations

from collections.abc import Sequence

from dosetwin.platform.contracts import Bolus, Dose, Infusion, Prediction, RateChange, Reading
from dosetwin.platform.topics import DOSES, READINGS
from dosetwin.stream_jobs.replay.messages import Anchored, device_messages, enrolments
from dosetwin.stream_jobs.replay.recording import DataSet
from dosetwin.stream_jobs.shard.intake import fact_uid
from dosetwin.twins.bank import Bank
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.therapies import load_therapy

SEED = 0
"""The shards' seed."""


def predict_offline(
    data_set: DataSet, people: Sequence[Anchored], bank: Bank | None = None
) -> dict[str, list[Prediction]]:
    """Every level of every patient, predicted from what came before it; by patient, in event time."""
    if bank is None:
        bank = load_therapy(data_set.therapy).make_bank(len(people), SEED)
    facts: list[tuple[str, TwinEvent]] = []
    for person in people:
        for enrolment in enrolments(data_set, person):
            bank.enrol(
                enrolment.patient,
                at_s=enrolment.at.timestamp(),
                covariates={name: measure.value for name, measure in enrolment.covariates.items()},
                targets={},
            )
        facts += [(person.patient, fact(message)) for message in device_messages(data_set, person)]
    found: dict[str, list[Prediction]] = {person.patient: [] for person in people}
    for (patient, _), prediction in zip(facts, bank.assimilate(facts).predictions, strict=True):
        if prediction is not None:
            found[patient].append(prediction)
    return found


def fact(message: Dose | Reading) -> TwinEvent:
    """The fact in a message of one sample or administration in canonical units."""
    if isinstance(message, Reading):
        (sample,) = message.samples
        censored = 0 if sample.censored is None else -1 if sample.censored == "below" else 1
        uid = fact_uid(READINGS.name, message)
        at_s = sample.at.timestamp()
        return TwinEvent(at_s, "observation", sample.quantity, sample.value, uid, 0.0, censored)
    (given,) = message.administrations
    uid, at_s = fact_uid(DOSES.name, message), given.at.timestamp()
    if isinstance(given, RateChange):
        return TwinEvent(at_s, "rate", given.drug, given.rate, uid)
    if isinstance(given, Infusion):
        return TwinEvent(at_s, "infusion", given.drug, given.amount, uid, given.duration_s)
    if isinstance(given, Bolus):
        return TwinEvent(at_s, "bolus", given.drug, given.amount, uid)
    raise TypeError(f"found {type(given).__name__}; a replay sends boluses, infusions and rates")
