"""`dosetwin doctor`: checks what a run needs, one finding each, and says the remedy of every fault."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Console

from dosetwin.platform.broker import HOST, port_is_free
from dosetwin.platform.broker_jars import check_jars, jar_folder, missing_jars
from dosetwin.platform.errors import DoseTwinError
from dosetwin.platform.java import find_java
from dosetwin.platform.settings import Settings, settings_file

NEEDED_DISK_BYTES = 2 * 1024**3
NEEDED_MEMORY_BYTES = 3 * 1024**3
"""Broker (-Xmx512m, about 300 MB more), two shards with JAX, Ray, fleet and dashboard: about 3 GB."""
WARN_CLOCK_S, FAIL_CLOCK_S = 0.5, 5.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found; a remedy where it is not ok."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """The findings, cheapest first. A check that itself breaks is a failed finding, not an exception."""
    checks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("java", _java),
        ("jars", _jars),
        ("ports", _ports),
        ("disk", _disk),
        ("memory", _memory),
        ("keys", _keys),
        ("clock", _clock),
        ("broker", _broker),
    )
    for name, check in checks:
        try:
            yield from check(settings)
        except DoseTwinError as error:
            yield Finding(check=name, status="fail", found=str(error), remedy=error.remedy)
        except OSError as error:
            yield Finding(
                check=name, status="fail", found=str(error), remedy="look at the path or address it names"
            )


def show_findings(settings: Settings, *, as_json: bool) -> bool:
    """Print findings and effective settings; whether nothing failed."""
    if as_json:
        findings = list(examine(settings))
        document: dict[str, Any] = {
            "findings": msgspec.to_builtins(findings),
            "settings": settings.model_dump(mode="json"),
            "settings_file": str(settings_file()) if settings_file().is_file() else None,
        }
        print(json.dumps(document, indent=2))
        return all(finding.status != "fail" for finding in findings)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    good = True
    for finding in examine(settings):
        colour = {"ok": "green", "warn": "yellow", "fail": "bold red"}[finding.status]
        console.print(f"{finding.status:>4}", style=colour, end="")
        console.print(f"  {finding.check}: {finding.found}")
        if finding.remedy and finding.status != "ok":
            console.print(f"      try: {finding.remedy}")
        good = good and finding.status != "fail"
    file = settings_file()
    console.print(f"\nEffective settings (file: {file if file.is_file() else f'{file} is not there'}):")
    for line in effective_settings(settings):
        console.print("  " + line)
    return good


def effective_settings(settings: Settings) -> Iterator[str]:
    """One `name = value` a setting. Keys are files under data_dir/keys: no secret is ever printed."""
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(value, dict):
            for inner, setting in value.items():
                yield f"{name}.{inner} = {json.dumps(setting)}"
        else:
            yield f"{name} = {json.dumps(value)}"


def _java(_settings: Settings) -> Iterator[Finding]:
    java = find_java()
    yield Finding(check="java", status="ok", found=f"{java.version} from {java.origin} ({java.path})")


def _jars(_settings: Settings) -> Iterator[Finding]:
    folder = jar_folder()
    missing = missing_jars(folder)
    if missing:
        size_mb = sum(jar.size_bytes for jar in missing) / 1e6
        yield Finding(
            check="jars",
            status="warn",
            found=f"{len(missing)} of the broker's jars are not in {folder} yet",
            remedy=f"the first `dosetwin broker` or `dosetwin demo` brings them ({size_mb:.0f} MB, network)",
        )
        return
    check_jars(folder)
    yield Finding(check="jars", status="ok", found=f"all in {folder}, with their recorded sha256")


def _ports(settings: Settings) -> Iterator[Finding]:
    wanted = {
        "broker.port": (HOST, settings.broker.port),
        "dashboard.port": (settings.dashboard.address, settings.dashboard.port),
    }
    metrics = settings.metrics
    for name in ("shard_port", "control_port", "fleet_port", "dashboard_port"):
        wanted[f"metrics.{name}"] = (metrics.address, getattr(metrics, name))
    taken = [
        f"{name} {port}" for name, (host, port) in wanted.items() if port and not port_is_free(port, host)
    ]
    if taken:
        yield Finding(
            check="ports",
            status="warn",
            found=f"in use: {', '.join(taken)}",
            remedy="fine if dosetwin runs already; otherwise a free port is taken, or set another one",
        )
    else:
        yield Finding(check="ports", status="ok", found=f"all {len(wanted)} are free")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    found = f"{free / 1024**3:.1f} GiB free for {settings.data_dir.absolute()}"
    if not writable:
        yield Finding(
            check="disk",
            status="fail",
            found=f"{folder} is not writable",
            remedy="set data_dir (DOSETWIN_DATA_DIR, --data-dir) to a folder you may write",
        )
    elif free < NEEDED_DISK_BYTES:
        yield Finding(
            check="disk",
            status="fail" if free < NEEDED_DISK_BYTES / 8 else "warn",
            found=found,
            remedy="make room, or set data_dir to another disk; topics keep 7 days of readings",
        )
    else:
        yield Finding(check="disk", status="ok", found=found)


def _memory(_settings: Settings) -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available
    found = f"{free / 1024**3:.1f} GiB available, {os.cpu_count()} cores"
    if free < NEEDED_MEMORY_BYTES:
        yield Finding(
            check="memory",
            status="warn",
            found=found,
            remedy="a demo of two shards takes about 3 GiB: use --shards 1, or a smaller broker.heap_mb",
        )
    else:
        yield Finding(check="memory", status="ok", found=found)


def _keys(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir / "keys"
    names = ("pseudonym", "commands", "actions")
    paths = [folder / f"{name}.hex" for name in names]
    missing = [path for path in paths if not path.exists()]
    if len(missing) == len(paths):
        yield Finding(check="keys", status="ok", found=f"none yet; they are made at first use in {folder}")
        return
    for path in paths:
        if path in missing:
            continue
        _check_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding(
                check="keys",
                status="fail",
                found=f"{path} can be read by others ({stat.filemode(path.stat().st_mode)})",
                remedy=f"chmod 600 {path}; if others had access, delete it to have a new key made",
            )
            return
    yield Finding(check="keys", status="ok", found=f"{len(paths) - len(missing)} of {len(paths)} in {folder}")


def _check_key(path: Path) -> None:
    from dosetwin.platform.signing import load_or_create_key

    try:
        load_or_create_key(path)
    except ValueError as error:
        raise DoseTwinError(
            f"{path} holds no hexadecimal key", remedy=f"delete {path} to have a new key made"
        ) from error


def _clock(settings: Settings) -> Iterator[Finding]:
    clock = settings.platform_clock
    now = time.time()
    found = f"event time is {clock.now().isoformat(timespec='seconds')}, {clock.speed:g} times life's speed"
    if clock.speed != 1.0 and clock.wall_anchor_s == 0.0:
        yield Finding(
            check="clock",
            status="fail",
            found=f"{found}, but it has no anchor: event time would run from 1970",
            remedy="set clock.wall_anchor_s and clock.event_anchor_s to the start of the run (`demo` does)",
        )
    elif clock.wall_anchor_s > now:
        yield Finding(
            check="clock",
            status="fail",
            found=f"the clock's wall anchor lies {clock.wall_anchor_s - now:.0f} s in the future",
            remedy="set clock.wall_anchor_s to a time that has passed, in Unix seconds",
        )
    else:
        yield Finding(check="clock", status="ok", found=found)


def _broker(settings: Settings) -> Iterator[Finding]:
    kafka = settings.kafka
    if not any(_connects(address) for address in kafka.bootstrap.split(",")):
        yield Finding(
            check="broker",
            status="warn",
            found=f"nothing listens at {kafka.bootstrap}",
            remedy="start one with `dosetwin broker` (or all with `dosetwin demo`), or give --bootstrap",
        )
        return
    from dosetwin.platform.kafka_clients import admin

    client = admin(kafka)
    try:
        nodes = client.describe_cluster()["brokers"]
    finally:
        client.close()
    if len(nodes) < kafka.replication:
        yield Finding(
            check="broker",
            status="fail",
            found=f"{len(nodes)} live nodes at {kafka.bootstrap}; kafka.replication is {kafka.replication}",
            remedy="start the missing nodes, or lower kafka.replication",
        )
    else:
        yield Finding(check="broker", status="ok", found=f"{len(nodes)} live nodes at {kafka.bootstrap}")
    yield from _topics(settings)


def _topics(settings: Settings) -> Iterator[Finding]:
    from dosetwin.platform.topic_admin import topic_states

    kafka = settings.kafka
    states = topic_states(kafka)
    for state in states:
        if state.state != "missing" and state.partitions != kafka.partitions:
            yield Finding(
                check="topics",
                status="fail",
                found=f"{state.name} has {state.partitions} partitions; the settings say {kafka.partitions}",
                remedy="`dosetwin topics` says how to go on",
            )
            return
    off = [f"{state.name} {state.state}" for state in states if state.state != "as declared"]
    if off:
        yield Finding(
            check="topics",
            status="warn",
            found=f"{len(off)} of {len(states)}: {', '.join(off)}",
            remedy=f"run `dosetwin topics --bootstrap {kafka.bootstrap}`",
        )
        return
    yield Finding(
        check="topics", status="ok", found=f"{len(states)} as declared, {kafka.partitions} partitions"
    )
    yield _broker_clock(settings)


def _broker_clock(settings: Settings) -> Finding:
    """Compares the broker's append times with this machine's clock, by the newest record of any source."""
    from kafka import TopicPartition

    from dosetwin.platform.kafka_clients import consumer
    from dosetwin.platform.topics import ACKNOWLEDGEMENTS, ACTIONS, DOSES, ENROLMENTS, READINGS

    kafka = settings.kafka
    stamped = (READINGS, DOSES, ENROLMENTS, ACTIONS, ACKNOWLEDGEMENTS)  # LogAppendTime: the broker's clock
    reader = consumer(kafka, "dosetwin-doctor", group_id=None)
    try:
        places = [TopicPartition(kafka.topic(t.name), p) for t in stamped for p in range(kafka.partitions)]
        ends = {place: end for place, end in reader.end_offsets(places).items() if end > 0}
        newest = 0.0
        if ends:
            reader.assign(list(ends))
            for place, end in ends.items():
                reader.seek(place, end - 1)
            for records in reader.poll(timeout_ms=1000).values():
                newest = max([newest, *(record.timestamp / 1000 for record in records)])
    finally:
        reader.close()
    ahead = newest - time.time()
    if newest == 0.0:
        return Finding(check="broker clock", status="ok", found="no records yet to compare with")
    found = (
        f"newest record stamped {-ahead:.0f} s ago" if ahead <= 0 else f"{ahead:.1f} s ahead of this machine"
    )
    if ahead <= WARN_CLOCK_S:
        return Finding(check="broker clock", status="ok", found=found)
    return Finding(
        check="broker clock",
        status="fail" if ahead > FAIL_CLOCK_S else "warn",
        found=f"the broker's clock is at least {found}",
        remedy="synchronise both machines (chrony, systemd-timesyncd): expiries and watchdogs depend on it",
    )


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return False
    return True
