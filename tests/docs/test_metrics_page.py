"""docs/metrics.md, the alert rules and the dashboard have exactly the metrics of the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_flowroute.utils.metrics import Metric

from .blocks import CHECKOUT

PAGE = (CHECKOUT / "docs" / "metrics.md").read_text()
FOLDER = CHECKOUT / "docs" / "metrics"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "prometheus-rules.yaml").read_text())["groups"][0]["rules"]
#: The names that Prometheus' StatsD exporter gives to the metrics.
EXPORTED = {f"airflow_{metric.replace('.', '_')}" for metric in Metric}

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool. On Debian: apt-get install prometheus"
)


def queries() -> list[str]:
    """Return the queries of the dashboard, with a value for each variable."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [re.sub(r"\$\w+", ".*", query) for query in found]


def names_in(queries: list[str]) -> set[str]:
    return set(re.findall(r"\bairflow_flowroute_\w+", " ".join(queries)))


def check(*arguments: str | Path) -> str:
    """Run promtool and return its output."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_page_lists_every_metric_of_the_code():
    rows = re.findall(r"^\| `(flowroute\.[\w.]+)` \| (counter|gauge|timing) \|", PAGE, re.MULTILINE)

    assert [name for name, _ in rows] == list(Metric)


def test_page_lists_every_alert():
    assert re.findall(r"^\| `(Flowroute\w+)` \|", PAGE, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_dashboard_shows_every_metric():
    assert names_in(queries()) == EXPORTED


def test_alerts_use_existing_metrics_and_runbook_entries():
    runbook = (CHECKOUT / "docs" / "runbook.md").read_text()
    headings = re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    anchors = {f"docs/runbook.md#{heading.lower().replace(' ', '-')}" for heading in headings}

    assert names_in([rule["expr"] for rule in RULES]) <= EXPORTED
    assert {rule["annotations"]["runbook"] for rule in RULES} <= anchors


@promtool
def test_prometheus_loads_the_rules_and_raises_the_alerts():
    """The series of the test file raise each alert, and usual series raise none."""
    assert f"{len(RULES)} rules found" in check("check", "rules", FOLDER / "prometheus-rules.yaml")
    tested: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus-rules-test.yaml").read_text())
    raised = {
        case["alertname"]
        for test in tested["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert raised == {rule["alert"] for rule in RULES}

    assert "SUCCESS" in check("test", "rules", FOLDER / "prometheus-rules-test.yaml")


@promtool
def test_prometheus_parses_the_queries_of_the_dashboard(tmp_path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in check("check", "rules", path)
