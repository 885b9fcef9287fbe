"""Prometheus takes the configuration, the rules fire on what they are meant for, and no metric is made up."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from dosetwin.platform.metrics import (
    ControlMetrics,
    DashboardMetrics,
    FleetMetrics,
    ProcessMetrics,
    ShardMetrics,
)
from dosetwin.platform.settings import MetricsSettings

INFRA = Path(__file__).parents[2] / "infra"
DASHBOARD = INFRA / "grafana" / "dashboards" / "dosetwin.json"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not here; Debian's package prometheus has it"
)


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run(
        [PROMTOOL, *arguments],
        cwd=INFRA / "prometheus",
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@functools.cache
def declared() -> frozenset[str]:
    """Every sample name that a process can serve."""
    names = {"up"}
    for make in (ShardMetrics, ControlMetrics, FleetMetrics, DashboardMetrics):
        for metric in make().registry.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(
                metric.type, ("",)
            )
            names.update(metric.name + suffix for suffix in suffixes)
    return frozenset(names)


def expressions() -> list[tuple[str, str]]:
    rules = (INFRA / "prometheus" / "alerts.yml").read_text()
    found = [("alerts.yml", line.split("expr:", 1)[1]) for line in rules.splitlines() if "expr:" in line]
    board = json.loads(DASHBOARD.read_text())
    found += [
        (panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())
    ]
    assert len(found) > 40
    return found


METRIC = re.compile(r"\b(?:dosetwin|process)_[a-z_]+\b|\bup\b")


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_asked_for_is_declared(where: str, expression: str) -> None:
    names = set(METRIC.findall(expression))
    assert names, expression
    assert names <= declared(), f"{where}: {sorted(names - declared())}"


def test_the_check_finds_a_metric_that_nobody_serves() -> None:
    assert METRIC.findall("rate(dosetwin_made_up_total[5m])") == ["dosetwin_made_up_total"]
    assert "dosetwin_made_up_total" not in declared()


def test_scrape_targets_are_the_ports_of_the_settings() -> None:
    text = (INFRA / "prometheus" / "prometheus.yml").read_text()
    targets = {int(port) for port in re.findall(r'"127\.0\.0\.1:(\d+)"', text)}
    ports = MetricsSettings()
    assert targets == {
        ports.shard_port,
        ports.shard_port + 1,
        ports.control_port,
        ports.fleet_port,
        ports.dashboard_port,
    }


def test_dashboard_panels_are_whole() -> None:
    board = json.loads(DASHBOARD.read_text())
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(identifiers) == len(set(identifiers))
    data_source = (INFRA / "grafana/provisioning/datasources/prometheus.yml").read_text()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert f"uid: {panel['datasource']['uid']}" in data_source


@needs_promtool
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    result = promtool("check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "12 rules found" in result.stdout


@needs_promtool
@pytest.mark.parametrize("make", [ShardMetrics, ControlMetrics, FleetMetrics, DashboardMetrics])
def test_prometheus_finds_nothing_to_say_of_the_names(make: Callable[[], ProcessMetrics]) -> None:
    result = promtool("check", "metrics", text=generate_latest(make().registry).decode())
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_promtool
def test_each_alert_rule_is_tried_and_fires() -> None:
    result = promtool("test", "rules", "alerts_test.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    rules = re.findall(r"- alert: (\w+)", (INFRA / "prometheus" / "alerts.yml").read_text())
    tried = (INFRA / "prometheus" / "alerts_test.yml").read_text()
    assert all(f"alertname: {rule}\n" in tried for rule in rules)


@needs_promtool
def test_every_expression_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.strip().replace("$__rate_interval", "1m")}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    result = promtool("check", "rules", str(file))
    assert result.returncode == 0, result.stderr
    assert f"{len(rules)} rules found" in result.stdout
