"""The system page: throughput, lag, latency, shards, dead letters, the age of each topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dosetwin.dashboards.presentation import words as as_words
from dosetwin.dashboards.probe import Probe
from dosetwin.dashboards.prometheus_text import Samples, by_label, quantile, total
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.view_models.words import clock, duration, number

DRAWN = (("readings", "Readings"), ("forecasts", "Forecasts"), ("commands", "Commands and proposals"))
EXAMPLES = 12


def system(snapshot: Snapshot, probe: Probe, before: Probe) -> dict[str, Any]:
    """Everything the system page shows; what does not answer is said to be silent, not shown as zero."""
    shards = dict(probe.processes.get("shard", {}))
    return {
        "flows": [_flow(snapshot, topic, title) for topic, title in DRAWN],
        "latency": _latency(shards.values()),
        "shards": _shards(shards, dict(before.processes.get("shard", {})), probe.wall_s - before.wall_s),
        "group": {
            "members": probe.members,
            "state": probe.group_state,
            "lag": sorted(probe.lag.items()),
            "lag_total": sum(probe.lag.values()) if probe.lag else None,
        },
        "processes": _processes(probe),
        "topics": [
            [
                topic,
                f"{flow.records:,}",
                f"{number(flow.per_second, 1)}/s",
                "nothing yet"
                if flow.newest_wall_s is None
                else f"{duration(snapshot.taken_wall_s - flow.newest_wall_s)} ago",
                str(flow.undecodable),
            ]
            for topic, flow in snapshot.flows.items()
        ],
        "dead_letters": {
            "total": sum(snapshot.dead_letters.values()),
            "by_reason": sorted(
                ([as_words(reason), count] for reason, count in snapshot.dead_letters.items()),
                key=lambda row: (-int(row[1]), str(row[0])),
            ),
            "newest": [
                [
                    clock(letter.at),
                    as_words(letter.reason),
                    letter.detail,
                    f"{letter.topic}/{letter.partition}:{letter.offset}",
                    letter.payload[:90].decode("utf-8", "replace"),
                ]
                for letter in reversed(snapshot.newest_dead_letters[-EXAMPLES:])
            ],
        },
        "reader": {
            "lag": snapshot.reader.lag_records,
            "reconnections": snapshot.reader.reconnections,
            "patients": len(snapshot.ward),
        },
    }


def _flow(snapshot: Snapshot, topic: str, title: str) -> dict[str, Any]:
    flow = snapshot.flows.get(topic)
    history = snapshot.history.get(topic)
    return {
        "topic": topic,
        "title": title,
        "per_second": number(flow.per_second if flow is not None else None, 1),
        "history": [] if history is None else history.newest(300).round(2).tolist(),
    }


def _latency(shards: Iterable[Samples]) -> list[list[str]]:
    several = list(shards)
    rows = []
    for title, name in (
        ("Device sent to command readable", "dosetwin_end_to_end_seconds"),
        ("One turn of a shard", "dosetwin_batch_seconds"),
        ("One transaction", "dosetwin_transaction_seconds"),
        ("Arithmetic of the twins, a step", "dosetwin_jax_seconds"),
    ):
        middle, high = quantile(several, name, 0.5), quantile(several, name, 0.99)
        rows.append([title, _milliseconds(middle), _milliseconds(high)])
    return rows


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "no answer"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _shards(shards: dict[str, Samples], before: dict[str, Samples], gap_s: float) -> list[dict[str, Any]]:
    rows = []
    for name, samples in sorted(shards.items()):
        now = total([samples], "dosetwin_observations_total")
        then = total([before[name]], "dosetwin_observations_total") if name in before else None
        rate = None if now is None or then is None or gap_s <= 0 else max(0.0, now - then) / gap_s
        rows.append(
            {
                "name": name,
                "twins": number(total([samples], "dosetwin_twins"), 0),
                "partitions": number(total([samples], "dosetwin_partitions"), 0),
                "rate": "–" if rate is None else f"{number(rate, 1)}/s",
                "lag": number(total([samples], "dosetwin_consumer_lag_records"), 0),
                "restarts": number(total([samples], "dosetwin_shard_restarts_total"), 0),
                "behind": bool(total([samples], "dosetwin_assimilate_only")),
                "memory": _megabytes(total([samples], "process_resident_memory_bytes")),
                "refusals": by_label([samples], "dosetwin_refusals_total", "limit"),
            }
        )
    return rows


def _processes(probe: Probe) -> list[list[str]]:
    return [
        [kind, name, _megabytes(total([samples], "process_resident_memory_bytes"))]
        for kind, named in sorted(probe.processes.items())
        if kind != "shard"
        for name, samples in sorted(named.items())
    ]


def _megabytes(size: float | None) -> str:
    return "–" if size is None else f"{size / 1e6:.0f} MB"
