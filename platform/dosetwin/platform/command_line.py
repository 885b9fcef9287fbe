"""The `dosetwin` command, assembled from the entry points that each room registers.

A room's entry point (group `dosetwin.commands`) names a function `register(app)` in a module that imports
nothing heavy at its top, so that `--help` answers at once; each command imports what it needs when called.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console

from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.platform.errors import DoseTwinError

ROOMS = ("platform", "twins", "ml", "stream_jobs", "dashboards")


def application() -> typer.Typer:
    """The typer application with every room's commands."""
    app = typer.Typer(
        name="dosetwin",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Digital twins for smart drug delivery, on a stream. Start with [bold]dosetwin demo[/bold]; "
        "something wrong? [bold]dosetwin doctor[/bold]. Not a medical device.",
    )
    found = {point.name: point for point in entry_points(group="dosetwin.commands")}
    for room in sorted(found, key=lambda name: (ROOMS.index(name) if name in ROOMS else len(ROOMS), name)):
        found[room].load()(app)
    return app


def main() -> None:
    """Run the command line; expected errors print what was found and the remedy, and exit with 2."""
    keep_compilations()
    try:
        application()()
    except DoseTwinError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]dosetwin:[/] {error}", highlight=False)
        if error.remedy:
            console.print(f"[bold]Try:[/] {error.remedy}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
