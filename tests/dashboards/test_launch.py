from __future__ import annotations

import socket

import pytest

from dosetwin.dashboards.components.view import PAGES, sources
from dosetwin.dashboards.launch import free_port, streamlit_options
from dosetwin.platform.errors import SettingsError


def test_a_taken_port_gives_the_next_and_zero_any() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port("127.0.0.1", taken) != taken
    assert free_port("127.0.0.1", 0) > 0


def test_another_machines_address_is_refused_with_a_remedy() -> None:
    with pytest.raises(SettingsError) as error:
        free_port("192.0.2.1", 8501)
    assert "127.0.0.1" in error.value.remedy


def test_options_that_were_measured_to_matter_are_known_to_streamlit_and_set() -> None:
    from streamlit import config

    options = streamlit_options("127.0.0.1", 8501)
    known = config.get_config_options()
    assert set(options) <= set(known), set(options) - set(known)
    assert options["runner.postScriptGC"] is False
    assert options["browser.gatherUsageStats"] is False
    assert options["server.address"] == "127.0.0.1"
    for name, value in options.items():
        expected = known[name].default_val
        assert expected in (None, "auto") or isinstance(value, type(expected)), name


@pytest.mark.parametrize("page", PAGES)
def test_views_ask_nothing_of_other_hosts_and_carry_one_default_export(page: str) -> None:
    markup, style, script = sources(page)
    for text in (markup, style, script):
        assert "http://" not in text
        assert "https://" not in text
    assert script.count("export default") == 1
    assert "{{" not in markup
    assert "Not a medical device" in markup
