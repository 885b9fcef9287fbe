"""Full updates per second of one and of two shards, broker and load on the same machine; where the time goes.

A full update: one reading polled, checked and assimilated into its twin (32 members), eight candidates and
more scored over 4 h, judged by the supervisor, one signed command written, all in Kafka transactions. Run by
hand on a quiet machine:

    python tests/benchmarks/shard_throughput.py --shards 1 2

It prints the share of the shards' wall time that each part took, and the processor time an update costs,
which other work on the machine disturbs less than the rate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from dosetwin.platform.broker import Broker, free_port
from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.platform.contracts import Measure
from dosetwin.platform.settings import ClockSettings, KafkaSettings, MetricsSettings, Settings, ShardSettings
from dosetwin.platform.topic_admin import declare_topics
from dosetwin.stream_jobs.demo.tally import unconsumed
from dosetwin.stream_jobs.fleet.load import encoded_rounds, enrol_load, pour
from dosetwin.stream_jobs.shard.process import run_shard

PARTS = {
    "JAX assimilate": 'dosetwin_jax_seconds_sum{step="assimilate"}',
    "JAX decide": 'dosetwin_jax_seconds_sum{step="decide"}',
    "transactions": "dosetwin_transaction_seconds_sum",
    "whole turns": "dosetwin_batch_seconds_sum",
    "polling": "dosetwin_poll_seconds_sum",
    "decisions to command": 'dosetwin_decisions_total{outcome="command"}',
    "decisions refused": 'dosetwin_decisions_total{outcome="refused"}',
    "decisions without order": 'dosetwin_decisions_total{outcome="none"}',
    "bytes of twins": 'dosetwin_twins_bytes{therapy="t1d-insulin"}',
    "twins": 'dosetwin_twins{therapy="t1d-insulin"}',
    "processor seconds": "process_cpu_seconds_total",
    "resident bytes": "process_resident_memory_bytes",
}
EVENT_START_S = 1_780_000_000.0


def scrape(port: int) -> dict[str, float]:
    """The figures of one shard."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for name, series in PARTS.items():
        match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
        found[name] = float(match.group(1)) if match else 0.0
    return found


def wait_until_consumed(kafka: KafkaSettings) -> None:
    """Until the shards' group has committed everything."""
    while unconsumed(kafka):
        time.sleep(0.05)


def measure(broker: Broker, shards: int, patients: int, readings: int, warm: int, tmp: Path) -> None:
    """One configuration: enrol, warm up, pour while the shards run, print."""
    wall_s = time.time()
    settings = Settings(
        data_dir=tmp / f"shards-{shards}",
        kafka=KafkaSettings(bootstrap=broker.bootstrap, topic_prefix=f"bench{shards}-"),
        # fast enough that each command has expired when the patient's next reading comes: no device answers
        clock=ClockSettings(speed=3000.0, wall_anchor_s=wall_s, event_anchor_s=EVENT_START_S + 30 * 86_400.0),
        shards=ShardSettings(count=shards, snapshot_interval_s=60.0),
        metrics=MetricsSettings(shard_port=free_port()),
    )
    declare_topics(settings.kafka)
    settings.command_signer()
    settings.action_signer()
    names = enrol_load(
        settings, patients, at_event_s=EVENT_START_S, limits={"stale_after": Measure(1e9, "s")}
    )
    rounds = list(encoded_rounds(names, warm + readings, EVENT_START_S, seed=1))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=run_shard, args=(settings, index)) for index in range(shards)]
    for worker in workers:
        worker.start()
    ports = [settings.metrics.shard_port + index for index in range(shards)]
    try:
        pour(settings, names, warm, EVENT_START_S, rounds=iter(rounds[:warm]))
        wait_until_consumed(settings.kafka)
        before = [scrape(port) for port in ports]
        broker_before_s = sum(psutil.Process(broker.pid).cpu_times()[:2])
        started = time.perf_counter()
        pour(settings, names, readings, EVENT_START_S, rounds=iter(rounds[warm:]))
        poured_s = time.perf_counter() - started
        wait_until_consumed(settings.kafka)
        elapsed_s = time.perf_counter() - started
        after = [scrape(port) for port in ports]
        broker_s = sum(psutil.Process(broker.pid).cpu_times()[:2]) - broker_before_s
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(timeout=30)
            worker.kill()
    done = patients * readings
    part = {name: sum(b[name] - a[name] for a, b in zip(before, after, strict=True)) for name in PARTS}
    held = {name: sum(found[name] for found in after) for name in PARTS}
    print(f"\n{shards} shard(s), {patients} patients, {done} readings poured in {poured_s:.1f} s")
    decided = sum(v for n, v in part.items() if n.startswith("decisions"))
    print(f"  readings assimilated/s  {done / elapsed_s:10.0f}   ({elapsed_s:.1f} s)")
    print(f"  full updates/s          {decided / elapsed_s:10.0f}   (assimilated, forecast, decided)")
    for name in ("JAX assimilate", "JAX decide", "transactions", "polling"):
        print(f"  {name:22}  {100 * part[name] / (elapsed_s * shards):9.1f} % of the shards' time")
    print(
        f"  processor time          {1e6 * part['processor seconds'] / done:10.0f} us an update in the shards"
        f", {1e6 * broker_s / done:.0f} in the broker"
    )
    print(f"  decisions               {decided:10.0f}   {part['decisions to command']:.0f} to command")
    print(
        f"  twins' arrays           {held['bytes of twins'] / max(1, held['twins']) / 1e4:10.2f} GB / 100,000"
    )
    print(f"  resident, all shards    {held['resident bytes'] / 1e6:10.0f} MB")


def main() -> None:
    """Measure each number of shards asked for, on one broker."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--patients", type=int, default=16_000)
    arguments.add_argument("--readings", type=int, default=5, help="of each patient, measured")
    arguments.add_argument("--warm", type=int, default=2, help="of each patient, before (programs compile)")
    given = arguments.parse_args()
    keep_compilations()
    print(f"{os.cpu_count()} cores; broker and load on the same machine")
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "broker", port=0) as broker:
        for shards in given.shards:
            measure(broker, shards, given.patients, given.readings, given.warm, Path(folder))


if __name__ == "__main__":
    main()
