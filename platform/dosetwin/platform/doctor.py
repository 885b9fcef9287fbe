"""`dosetwin doctor`: checks what a run needs, one finding each, and says the remedy of every fault."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from dosetwin.platform.broker import HOST, port_is_free
from dosetwin.platform.broker_jars import check_jars, jar_folder, missing_jars
from dosetwin.platform.doctor_cluster import cluster_findings
from dosetwin.platform.errors import DoseTwinError
from dosetwin.platform.finding import Finding
from dosetwin.platform.java import find_java
from dosetwin.platform.settings import Settings, settings_file

NEEDED_DISK_BYTES = 2 * 1024**3
NEEDED_MEMORY_BYTES = 3 * 1024**3
"""Broker (-Xmx512m, about 300 MB more), two shards with JAX, Ray, fleet and dashboard: about 3 GB."""


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
        ("broker", cluster_findings),
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
