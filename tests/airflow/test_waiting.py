"""The requests that docs/wait.md states for the ways to wait."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]

PAGE = (Path(__file__).parents[2] / "docs" / "wait.md").read_text()
WAYS = re.findall(r"^\| `(Cdr\w+|Create\w+)\((.*?)\)`.*\| `n` \+ (\d) \|$", PAGE, re.MULTILINE)


def test_page_lists_five_ways_to_wait():
    assert len(WAYS) == 5


@pytest.mark.parametrize(("operator", "arguments", "more"), WAYS)
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_wait_sends_as_many_requests_as_documented(flowroute, run_dag, operator, arguments, more):
    too_early = 2
    # Names and values from the page.
    given = {
        name: {"True": True, "False": False}.get(value, value.strip('"'))
        for name, value in re.findall(r"(\w+)=([^,]+)", arguments)
    } | {"poke_interval": 0.5}
    with DAG(
        f"what_a_wait_costs_{WAYS.index((operator, arguments, more))}",
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
    ) as dag:
        if operator == "CreateCdrExportOperator":
            CreateCdrExportOperator(task_id="create", **given)
        else:
            create = CreateCdrExportOperator(task_id="create")
            CdrExportSensor(task_id="wait", export_id=create.output, **given)
    over = threading.Event()
    completer = threading.Thread(target=_complete_after, args=(flowroute, too_early, over), daemon=True)
    completer.start()

    outcome = run_dag(dag)
    over.set()
    completer.join()

    assert outcome.state == "success"
    kinds = [request.on for request in flowroute.requests]
    assert kinds.count("create") == 1
    assert kinds.count("status") == too_early + int(more)


def _complete_after(flowroute, polls: int, over: threading.Event) -> None:
    while not over.wait(0.005):
        if flowroute.exports and flowroute.exports[0].reads >= polls:
            flowroute.complete(flowroute.exports[0].id)
            return
