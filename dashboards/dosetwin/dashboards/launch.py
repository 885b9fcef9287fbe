"""Starts Streamlit with the settings that were measured to matter, in this process."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

from dosetwin.platform.errors import SettingsError
from dosetwin.platform.settings import Settings

APP = Path(__file__).with_name("app.py")
PORTS_TRIED = 10

LIGHT = {
    "primaryColor": "#00619a",
    "backgroundColor": "#f4f6f8",
    "secondaryBackgroundColor": "#e6ebef",
    "textColor": "#14202b",
    "linkColor": "#00547f",
}
DARK = {
    "primaryColor": "#6cc0f5",
    "backgroundColor": "#0d1217",
    "secondaryBackgroundColor": "#19222b",
    "textColor": "#e9eef3",
    "linkColor": "#8ccdf8",
}


def streamlit_options(address: str, port: int) -> dict[str, str | bool | int]:
    """Streamlit's own options, by name.

    postScriptGC off: a full collection after every run of a page's timer costs 85 ms of processor, and ten
    viewers saturate the process; `upkeep.Collector` collects instead. No file watcher, no usage statistics,
    no e-mail prompt: nothing leaves this machine.
    """
    options: dict[str, str | bool | int] = {
        "runner.postScriptGC": False,
        "runner.magicEnabled": False,
        "server.address": address,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.showEmailPrompt": False,
        "server.enableAgentApi": False,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": address,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "type",
        "client.showErrorLinks": False,
        "logger.level": "warning",
    }
    options |= {f"theme.light.{name}": value for name, value in LIGHT.items()}
    options |= {f"theme.dark.{name}": value for name, value in DARK.items()}
    return options


def free_port(address: str, wanted: int) -> int:
    """`wanted`, one of the next ten when it is taken, or any free port (also for 0).

    Raises SettingsError when the address is not this machine's.
    """
    tried = [wanted + step for step in range(PORTS_TRIED) if wanted and wanted + step < 65536]
    for port in [*tried, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise SettingsError(
                        f"the dashboard cannot listen at {address}:{port} ({error})",
                        remedy="set dashboard.address to 127.0.0.1 or to an address of this machine",
                    ) from error
                continue
            return int(probe.getsockname()[1])
    raise SettingsError(f"no free port at {address}", remedy="free a port on this machine")


def serve(settings: Settings, port: int) -> None:
    """Run the dashboard in this process until Ctrl-C; returns the normal way then.

    The settings travel to the pages in DOSETWIN_* variables of this process.
    """
    from streamlit.web import bootstrap

    os.environ.update(settings.environment())
    os.environ["DOSETWIN_DASHBOARD__PORT"] = str(port)
    options = streamlit_options(settings.dashboard.address, port)
    flags: dict[str, object] = {name.replace(".", "_"): value for name, value in options.items()}
    sys.argv = [str(APP)]
    bootstrap.load_config_options(flag_options=flags)
    bootstrap.run(str(APP), False, [], flags)
