"""The metrics of real DAG runs, as a StatsD server receives them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.statsd import Sample

from .conftest import AIRFLOW_2

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]


def pipeline(dag_id: str, path: Path, retries: int = 0, **wait: object) -> DAG:
    """Return a DAG that creates an export, waits for it and lands it."""
    with DAG(
        dag_id,
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        default_args={"retries": retries, "retry_delay": timedelta(0)},
    ) as dag:
        create = CreateCdrExportOperator(task_id="create")
        waited = CdrExportSensor(task_id="wait", export_id=create.output, **wait)
        land = CdrExportToObjectStorageOperator(task_id="land", export_id=create.output, path=str(path))
        waited >> land
    return dag


def sums(samples: list[Sample]) -> dict[str, float]:
    """Return the sums of all counters."""
    found: dict[str, float] = defaultdict(float)
    for sample in samples:
        if sample.kind == "c":
            found[sample.name] += sample.value
    return found


@pytest.fixture
def completed_after_four_reads(flowroute) -> Iterator[None]:
    """Complete the account's export when it was polled four times."""
    over = threading.Event()

    def complete() -> None:
        while not over.wait(0.01):
            if flowroute.exports and flowroute.exports[0].reads >= 4:
                return flowroute.complete(flowroute.exports[0].id)
        return None

    thread = threading.Thread(target=complete, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("completed_after_four_reads")
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_dag_run_sends_the_metrics_of_its_export(flowroute, run_dag, statsd, tmp_path):
    """One export created, waited for in the triggerer, and landed: each metric has the run's own figures."""
    path = tmp_path / "cdrs.parquet"

    assert run_dag(pipeline("metrics_of_an_export", path, deferrable=True)).state == "success"
    samples = statsd.receive()

    counted = sums(samples)
    assert counted["flowroute.exports.created"] == counted["flowroute.landed.exports"] == 1
    assert counted["flowroute.landed.rows"] == pq.read_metadata(path).num_rows
    assert counted["flowroute.landed.bytes"] == path.stat().st_size
    assert counted["flowroute.landed.cost"] == pytest.approx(float(flowroute.exports[0].total_cost), abs=1e-6)
    assert not {"flowroute.errors", "flowroute.exports.failed"} & counted.keys()
    polls = [request for request in flowroute.requests if request.on in ("status", "list")]
    by_tasks = 3  # the sensor's first poll, its result, and the landing
    assert counted["flowroute.poller.requests"] == len(polls) - by_tasks >= 3
    waits = [sample for sample in samples if sample.name == "flowroute.exports.wait_duration"]
    tags = {"dag_id": "metrics_of_an_export", "task_id": "wait", "conn_id": "flowroute_default"}
    # In Airflow 2, dag.test() gives a task no start_date.
    assert [(wait.kind, wait.tags) for wait in waits] == ([] if AIRFLOW_2 else [("ms", tags)])
    assert all(0 < wait.value < 60_000 for wait in waits)
    sizes = [sample.value for sample in samples if sample.name == "flowroute.poller.size"]
    assert (max(sizes), sizes[-1]) == (1, 0)


def test_failed_export_and_wrong_file_are_counted(flowroute, run_dag, statsd, tmp_path):
    flowroute.add_fault("failed_export")
    run_dag(pipeline("metrics_of_a_failed_export", tmp_path / "failed.parquet"))
    failed = statsd.receive()
    flowroute.add_fault("wrong_num_calls")
    run_dag(pipeline("metrics_of_a_wrong_file", tmp_path / "wrong.parquet"))
    wrong = statsd.receive()

    assert sums(failed)["flowroute.exports.failed"] == 1
    assert "flowroute.landed.exports" not in sums(failed) | sums(wrong)
    assert sums(wrong)["flowroute.reconciliation.failures"] == 1
    errors = [sample.tags["error"] for sample in failed + wrong if sample.name == "flowroute.errors"]
    assert errors == ["CdrExportFailedError", "CdrExportMismatchError"]


def test_refused_keys_are_counted_with_the_connection(flowroute, run_dag, statsd, tmp_path):
    flowroute.add_fault("unauthorized", times=None)
    run_dag(pipeline("metrics_of_refused_keys", tmp_path / "cdrs.parquet"))

    [error] = [sample for sample in statsd.receive() if sample.name == "flowroute.errors"]
    assert (error.tags["error"], error.tags["conn_id"]) == (
        "FlowrouteAuthenticationError",
        "flowroute_default",
    )


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_wait_that_times_out_is_counted(flowroute, run_dag, statsd, tmp_path, deferrable):
    dag = pipeline(
        f"metrics_of_a_stuck_wait_{deferrable}",
        tmp_path / "cdrs.parquet",
        deferrable=deferrable,
        poke_interval=0.2,
        timeout=1,
    )

    run_dag(dag)

    assert sums(statsd.receive())["flowroute.exports.timed_out"] == 1


@pytest.mark.flowroute(extra={"retries": 0})
def test_resumed_export_is_counted_once(flowroute, run_dag, statsd, tmp_path, quick_looks):
    """The reply to the first try is lost and its search fails; the second try finds the export."""
    flowroute.add_fault("lost_reply", on="create")
    flowroute.add_fault("server_error", on="list", times=1)

    assert run_dag(pipeline("metrics_of_a_retry", tmp_path / "cdrs.parquet", retries=1)).state == "success"

    counted = sums(statsd.receive())
    assert (counted["flowroute.exports.resumed"], len(flowroute.exports)) == (1, 1)
    assert "flowroute.exports.created" not in counted


@pytest.mark.flowroute(processing_seconds=1, extra={"retries": 0})
def test_pauses_of_the_poller_are_counted(flowroute, run_dag, statsd, tmp_path):
    """Of the three polls that fail, the first one is the sensor's own."""
    flowroute.add_fault("server_error", on="status", times=3)
    dag = pipeline("metrics_of_a_pause", tmp_path / "cdrs.parquet", deferrable=True)

    assert run_dag(dag).state == "success"

    assert sums(statsd.receive())["flowroute.poller.pauses"] == 2
