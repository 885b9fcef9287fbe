"""Memory, compilations and time of the diabetes twins as a fleet grows.

    python tests/benchmarks/ensemble_memory.py [--largest 1000000] [--assimilated 2000]

For each fleet size: enrol everybody, assimilate one reading for `--assimilated` of them (everybody with
--assimilated 0), decide for 64. Printed: resident memory that the fleet added, what the bank itself says,
bytes a twin, time to enrol, and how many programs were compiled so far (JAX's own event) in how many seconds.
A fleet of 1,000 comes first, uncounted, so that what compilation needs is not put down to twins. Growth is
linear where bytes a twin stay the same; compilations must not grow with the fleet. A million twins take about
9 GB.
"""

from __future__ import annotations

import argparse
import gc
import time

import jax
import psutil

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.events import TwinEvent

START_S = 1_800_000_000.0
_compiled: list[float] = []


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(duration_secs)


def resident() -> int:
    """Bytes of physical memory this process holds."""
    gc.collect()
    held: int = psutil.Process().memory_info().rss
    return held


def grow(count: int, assimilated: int, seed: int) -> str:
    """The line of a fleet of `count`."""
    before = resident()
    bank = EnsembleBank(count, seed)
    names = [f"p-{i:020x}" for i in range(count)]
    start = time.perf_counter()
    for name in names:
        bank.enrol(name, at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    enrolled = time.perf_counter() - start
    some = names[: assimilated or count]
    start = time.perf_counter()
    for first in range(0, len(some), 4096):
        facts = [
            (name, TwinEvent(START_S, "observation", "glucose", 140.0, first + i + 1))
            for i, name in enumerate(some[first : first + 4096])
        ]
        bank.assimilate(facts)
    told = time.perf_counter() - start
    bank.decide(names[:64], [START_S] * 64)
    held = resident() - before
    return (
        f"{count:9,d} {held / 1e6:9.0f} MB {bank.nbytes() / 1e6:9.0f} MB {held / count / 1e3:8.2f} kB"
        f" {1e6 * enrolled / count:9.0f} us {1e6 * told / len(some):9.0f} us"
        f" {len(_compiled):7d} {sum(_compiled):8.1f} s"
    )


def main() -> None:
    """Print a line a fleet size, each ten times the one before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--assimilated", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    jax.monitoring.register_event_duration_secs_listener(_count)
    memory = psutil.virtual_memory()
    print(
        f"{row.MEMBERS} members, {row.SIZE * 4} bytes an ensemble, 3 a twin; "
        f"a machine of {memory.total / 1e9:.0f} GB"
    )
    print("    twins      resident         bank      a twin     enrol   assimilate  compiled     spent")
    grow(1000, 1000, asked.seed)
    count = 1000
    while count <= asked.largest:
        print(grow(count, min(asked.assimilated, count), asked.seed), flush=True)
        count *= 10


if __name__ == "__main__":
    main()
