"""The sub-commands of stream_jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of stream_jobs to `app`."""
    app.command()(twins)
    app.command()(control)
    app.command()(demo)
    app.command()(fleet)
    app.command()(replay)
    app.command()(trial)


def twins(
    shards: Annotated[int | None, typer.Option(help="How many shards to run (default: settings, 2).")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka cluster, host:port[,host:port...].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where keys, logs and caches live.")] = None,
) -> None:
    """Run the shards: Ray actors that own partitions and keep every patient's twin.

    They start a local Ray, or join the cluster that RAY_ADDRESS names. A shard that dies is started again
    with back-off, takes its partitions back and replays from its snapshots. Ctrl-C lets each finish its
    turn. Logs: DATA_DIR/logs/shard-N.log. Metrics: loopback ports 9464, 9465, ...

    Example: dosetwin twins --shards 4 --bootstrap kafka.example:9092
    """
    import signal
    import threading

    from rich.console import Console

    from dosetwin.platform.settings import load_settings
    from dosetwin.stream_jobs.shard.ray_host import run_shards

    settings = load_settings(kafka={"bootstrap": bootstrap}, shards={"count": shards}, data_dir=data_dir)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console = Console(highlight=False)
    run_shards(settings, stop, lambda words: console.print(words))


def control(
    bootstrap: Annotated[str | None, typer.Option(help="Kafka cluster, host:port[,host:port...].")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the keys are that actions are checked with.")
    ] = None,
    loglevel: Annotated[str, typer.Option(help="How much is logged: WARNING, INFO, DEBUG.")] = "INFO",
) -> None:
    """Run the control app: the life of enrolments, alerts and commands, and the watchdogs.

    It escalates alerts that nobody acknowledges, says when a device does not answer or has gone silent,
    expires commands, changes modes and notes missed doses. The topics must be there (`dosetwin topics`).
    Stop and start it at any time: it reads back what it needs. It ends with status 70 on an unexpected
    error; let something start it again. Ctrl-C stops it. Metrics: loopback port 9474.

    Example: dosetwin control --bootstrap kafka.example:9092
    """
    from dosetwin.platform.settings import load_settings
    from dosetwin.stream_jobs.control.worker import Control

    Control(load_settings(kafka={"bootstrap": bootstrap}, data_dir=data_dir)).run(loglevel)


def demo(
    patients: Annotated[int, typer.Option(min=1, help="Synthetic patients.")] = 60,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for", min=1, help="Wall seconds to run from the first reading on; without it, until Ctrl-C."
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.1, help="Event seconds a wall second.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Chance of the fleet: patients, meals, faults.")] = 0,
    mode: Annotated[
        str, typer.Option(help="autonomous, advisory (a person approves), shadow, or mixed.")
    ] = "mixed",
    faults: Annotated[str, typer.Option(help="How faulty devices are: none, normal, harsh.")] = "normal",
    therapy_mix: Annotated[
        str, typer.Option(help="Share of each therapy.")
    ] = "t1d-insulin=0.8,vancomycin=0.2",
    shards: Annotated[int, typer.Option(min=1, help="Shards to run.")] = 2,
    kill_shards: Annotated[int, typer.Option(min=0, help="SIGKILL this many shards over the run.")] = 0,
    headless: Annotated[bool, typer.Option("--headless", help="Without the dashboard.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Last line of standard output: the run's figures.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = True,
    port_dashboard: Annotated[int, typer.Option(help="Dashboard port; 0 takes a free one.")] = 0,
    data_dir: Annotated[Path, typer.Option(help="Broker data, keys, logs.")] = Path(".dosetwin/demo"),
    bootstrap: Annotated[
        str | None, typer.Option(help="Use this Kafka cluster instead of starting a broker.")
    ] = None,
) -> None:
    """Run everything on this machine: Kafka, twins, control app, a synthetic fleet, the dashboard.

    Opens the dashboard; Ctrl-C stops the devices, lets everything on its way arrive, and prints what an
    independent reader of the topics counted. Exit status 1 where a command was lost or doubled.

    Examples: dosetwin demo   |   dosetwin demo --headless --patients 500 --for 120 --kill-shards 5 --json
    """
    from dosetwin.stream_jobs.demo.run import Demo, DemoPlan

    plan = DemoPlan(
        patients=patients,
        for_s=for_s,
        speed=speed,
        seed=seed,
        mode=mode,
        faults=faults,
        therapy_mix=therapy_mix,
        shards=shards,
        kill_shards=kill_shards,
        headless=headless,
        as_json=as_json,
        open_browser=open_browser,
        dashboard_port=port_dashboard,
        data_dir=data_dir,
        bootstrap=bootstrap,
    )
    raise typer.Exit(Demo(plan).run())


def fleet(
    patients: Annotated[int, typer.Option(min=1, help="Synthetic patients.")] = 60,
    therapy_mix: Annotated[
        str, typer.Option(help="Share of each therapy: t1d-insulin, vancomycin.")
    ] = "t1d-insulin=0.8,vancomycin=0.2",
    seed: Annotated[int, typer.Option(help="Chance: patients, meals, sensors, faults.")] = 0,
    speed: Annotated[
        float | None, typer.Option(min=0.1, help="Event seconds a wall second (default: settings, 1).")
    ] = None,
    for_s: Annotated[
        float | None, typer.Option("--for", min=1, help="Wall seconds to stream; without it, until Ctrl-C.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="autonomous, advisory (a person approves), shadow, or mixed.")
    ] = "mixed",
    faults: Annotated[
        str, typer.Option(help="none, normal or harsh; then single rates: normal,late=0.1,duplicate=0")
    ] = "normal",
    bootstrap: Annotated[str | None, typer.Option(help="Kafka cluster, host:port[,host:port...].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the keys are.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Devices' memory; a fleet started on it goes on (DATA_DIR/fleet).")
    ] = None,
    drain_s: Annotated[
        float, typer.Option("--drain", min=0, help="Wall seconds to go on answering commands at the end.")
    ] = 60.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Last line of standard output: the counters.")
    ] = False,
) -> None:
    """Stream synthetic patients: plants, devices, the faults of both, and the gateway that takes commands.

    Enrols the patients under pseudonyms, then sends what their sensors, pumps, pens, laboratory and wearables
    say, each at its event time. Devices check, obey and acknowledge commands; what they do changes the
    patient. Ctrl-C stops the devices; the gateway answers until nothing more comes. The broker and the
    topics must be there (dosetwin broker, dosetwin topics).

    Examples: dosetwin fleet --patients 200 --speed 60 --for 120 --json   |   dosetwin fleet --faults harsh
    """
    from dosetwin.stream_jobs.fleet.console import effective_settings, run_fleet
    from dosetwin.stream_jobs.fleet.faults import parse_faults
    from dosetwin.stream_jobs.fleet.plan import FleetPlan, parse_mix

    settings = effective_settings(bootstrap, speed, data_dir)
    plan = FleetPlan(
        patients=patients,
        state_dir=state_dir or settings.data_dir / "fleet",
        therapy_mix=parse_mix(therapy_mix),
        mode=mode,
        faults=parse_faults(faults),
        seed=seed,
        for_s=for_s,
        drain_s=drain_s,
    )
    run_fleet(settings, plan, as_json)


def replay(
    source: Annotated[str, typer.Argument(help="remifentanil, quinidine, phenobarb, or a CSV file.")],
    therapy: Annotated[
        str | None, typer.Option(help="Therapy of a CSV file: vancomycin, remifentanil, quinidine, ...")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the plots.")] = Path("out/replay"),
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="Event seconds a wall second (default: as fast as it goes)."),
    ] = None,
    patients: Annotated[int | None, typer.Option(min=1, help="Only the first so many patients.")] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(help="Kafka with shards running; without it a broker and a shard are started."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Last line of standard output: the figures as one JSON object.")
    ] = False,
) -> None:
    """Stream recorded patients through Kafka and the shards; each level is predicted before it is seen.

    Prints bias (MDPE) and inaccuracy (MDAPE) a priori and one step ahead, and how often the 90 % interval
    held the level; draws observed against predicted. Models are published ones; nothing is fitted.

    A CSV file is NONMEM-style, one row an event, a header of these columns:

    ID  patient; rows of one patient ascend in TIME (hours)

    AMT, RATE, DUR  a dose, at once or over AMT/RATE or DUR hours; EVID 1 with RATE alone: a pump's rate

    II, ADDL, SS  ADDL further doses every II hours; SS 1: at steady state

    DV, CENS  a concentration; CENS 1: below DV, -1: above it. EVID (0 level, 1 dose, 2 other) and MDV may
    be left out

    AGE, WEIGHT, ...  the therapy's covariates by name; empty: as in the row before

    Examples: dosetwin replay remifentanil --json   |   dosetwin replay levels.csv --therapy vancomycin
    """
    from dosetwin.stream_jobs.replay.run import ReplayPlan, run_replay

    run_replay(ReplayPlan(source, therapy, output, speed, bootstrap, as_json, patients))


def trial(
    therapy: Annotated[
        str | None,
        typer.Argument(
            metavar="THERAPY",
            help="t1d-insulin, propofol, vancomycin, ... or path/to/file.py:NAME of a trial of your own.",
            show_default=False,
        ),
    ] = None,
    patients: Annotated[int, typer.Option(help="Virtual patients.")] = 20,
    days: Annotated[
        float | None, typer.Option(help="Days each lives (default: the trial's own).", show_default=False)
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="A policy; repeat it. Default: dosetwin and every comparator.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chance: who the patients are and what happens to them.")] = 0,
    plant: Annotated[
        str, typer.Option(help="Which virtual patients (default: the trial's first).", show_default=False)
    ] = "",
    group: Annotated[str, typer.Option(help="A subpopulation of the plant.", show_default=False)] = "",
    challenge: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong; repeat it. none, or all: none and each.", show_default=False),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="A switch of the plant, name=value.", show_default=False)
    ] = None,
    first_patient: Annotated[int, typer.Option(help="Number of the first patient.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run (default: out/trial/THERAPY-...).", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes (default: the cores); 0: this one, without Ray.", show_default=False
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Last line of standard output: the figures as one JSON object.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is (of THERAPY), and stop.")] = False,
) -> None:
    """Try policies on virtual patients: the same people, the same meals, the same noise under each.

    Patient number k of a seed is the same person in every run, so policies are compared patient by patient.
    Prints mean, 95 % confidence interval and worst patient of each measure; --out gets report.html,
    result.json, measures.csv, and every chunk of patients as it finishes. Ctrl-C keeps those, and the same
    command goes on from there. Exit status 1 where a chunk failed, 2 for bad input, 130 when stopped.

    Examples: dosetwin trial --list   |   dosetwin trial t1d-insulin --list

    dosetwin trial vancomycin --patients 100 --days 3 --seed 5000 --json

    dosetwin trial t1d-insulin --policy dosetwin --policy pid --challenge all --out out/robust

    dosetwin trial propofol --seed 5000 --first-patient 17 --patients 1    (one patient again)
    """
    if list_:
        from dosetwin.stream_jobs.trial.listing import list_trials

        list_trials(therapy)
        return
    if therapy is None:
        raise typer.BadParameter("expected THERAPY (dosetwin trial --list shows those that have a trial)")
    from dosetwin.stream_jobs.trial.run import TrialRequest, run_trial

    request = TrialRequest(
        source=therapy,
        patients=patients,
        days=days,
        policies=tuple(policy or ()),
        seed=seed,
        plant=plant,
        group=group,
        challenges=tuple(challenge or ()),
        options=tuple(option or ()),
        first_patient=first_patient,
        out=out,
        workers=workers,
        report=report,
        as_json=as_json,
    )
    raise typer.Exit(run_trial(request))
