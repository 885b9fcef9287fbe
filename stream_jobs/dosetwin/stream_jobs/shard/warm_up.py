"""Compiles the twins' programs before patients wait for them.

A program is compiled once for each batch size and costs seconds, where a turn costs milliseconds. The small
sizes come before the shard joins its group, the large ones behind its back. Shards of one machine take turns
(a file lock), so that the second finds in JAX's persistent cache what the first one compiled.
"""

from __future__ import annotations

import fcntl
import logging
import math
import threading
import time
from collections.abc import Iterable

from dosetwin.platform.broker_jars import cache_folder
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import CovariateNeed

AT_S = 1_700_000_000.0
SMALL, LARGE = (8,), (64, 512)
"""Patients in a turn, at which banks pad to other sizes."""

_log = logging.getLogger(__name__)


def warm_up(therapies: Iterable[str], sizes: Iterable[int], lock_name: str = "warm-up.lock") -> None:
    """Run each therapy's bank once at each size, on patients who do not exist."""
    lock = cache_folder() / lock_name
    lock.parent.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        for therapy in therapies:
            started_s = time.monotonic()
            with lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _run_once(therapy, size)
            _log.info("%s for %d patients is compiled (%.1f s)", therapy, size, time.monotonic() - started_s)


def warm_up_behind(therapies: Iterable[str], sizes: Iterable[int]) -> None:
    """Do the same in a daemon thread, for dense sensors alone: sparse levels come few a turn."""
    dense = tuple(therapy for therapy in therapies if load_therapy(therapy).sensor == "dense")
    work = (dense, tuple(sizes), "warm-up-behind.lock")
    threading.Thread(target=warm_up, args=work, name="warm-up", daemon=True).start()


def _run_once(therapy_id: str, size: int) -> None:
    therapy = load_therapy(therapy_id)
    bank = therapy.make_bank(size, 0)
    covariates = {need.name: _usual(need) for need in therapy.covariates}
    targets = {name: bound.value for name, bound in therapy.targets.items()}
    observed, drug = therapy.observed[0], therapy.drugs[0]
    patients = [f"warm-up-{number}" for number in range(size)]
    facts: list[tuple[str, TwinEvent]] = []
    for number, patient in enumerate(patients):
        bank.enrol(patient, at_s=AT_S, covariates=covariates, targets=targets)
        value = math.sqrt(max(observed.low, 1.0) * observed.high)
        facts.append((patient, TwinEvent(AT_S + 60, "bolus", drug.name, 1.0, 2 * number)))
        facts.append((patient, TwinEvent(AT_S + 300, "observation", observed.name, value, 2 * number + 1)))
    bank.assimilate(facts)
    bank.decide(patients, [AT_S + 300] * size)


def _usual(need: CovariateNeed) -> float:
    """The default, yes for what is yes or no, else the middle of the range on the logarithmic scale."""
    if need.default is not None:
        return need.default
    if (need.low, need.high, need.unit) == (0, 1, "1"):
        return 1.0
    return math.sqrt(max(need.low, 0.5) * need.high)
