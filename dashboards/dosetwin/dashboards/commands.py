"""The sub-commands of dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of dashboards to `app`."""
    app.command("dashboard")(dashboard)


def dashboard(
    bootstrap: Annotated[
        str | None, typer.Option(help="host:port[,host:port...] of the Kafka cluster to watch")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port of the page; the next free one where it is taken, 0 = any")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="where the keys are (default .dosetwin)")] = None,
) -> None:
    """Watch the ward in a browser: patients by urgency, forecasts, commands to approve, alerts, the system.

    Reads the topics (it joins no group and changes nothing) and writes only what people do, signed, to
    the topic `actions`. Stop it with Ctrl-C.

    Example: [bold]dosetwin dashboard --bootstrap broker.local:9092 --port 8600[/bold]
    """
    from rich.console import Console

    from dosetwin.dashboards.launch import free_port, serve
    from dosetwin.platform.settings import load_settings

    settings = load_settings(kafka={"bootstrap": bootstrap}, dashboard={"port": port}, data_dir=data_dir)
    wanted, address = settings.dashboard.port, settings.dashboard.address
    taken = free_port(address, wanted)
    console = Console(soft_wrap=True)
    if wanted not in (0, taken):
        console.print(f"[yellow]Port {wanted} is taken; using {taken}.[/]", highlight=False)
    console.print(
        f"dashboard: http://{address}:{taken}  (topics of {settings.kafka.bootstrap}; Ctrl-C stops it)",
        highlight=False,
    )
    serve(settings, taken)
