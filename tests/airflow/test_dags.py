"""Operators, sensor, trigger and landing together, as tasks of a DAG."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

from .conftest import AIRFLOW_2, AIRFLOW_BEFORE_3_3, DAY

pytestmark = pytest.mark.airflow

RETRIES = {"retries": 1, "retry_delay": timedelta(0)}
SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def a_dag(name: str, **options: Any) -> DAG:
    return DAG(name, start_date=datetime(2019, 1, 1, tzinfo=UTC), **{"schedule": None, **options})


@pytest.mark.flowroute(processing_seconds=0.5)
def test_daily_calls_land_complete_with_totals_for_the_next_task(flowroute, run_dag, tmp_path):
    with a_dag("daily", schedule=CronDataIntervalTimetable("@daily", timezone="UTC")) as dag:
        create = CreateCdrExportOperator(task_id="create")
        wait = CdrExportSensor(task_id="wait", export_id=create.output, deferrable=True, poke_interval=0.2)
        land = CdrExportToObjectStorageOperator(
            task_id="land",
            export_id=create.output,
            path=f"{tmp_path}/{{{{ data_interval_start | ds }}}}.csv.gz",
        )

        @task
        def report(summary: dict[str, Any], landed: dict[str, Any]) -> str:
            return f"{summary['num_calls']} = {landed['rows']}"

        wait >> land
        report(wait.output, land.output)
    outcome = run_dag(dag, datetime(2019, 6, 26, tzinfo=UTC))

    assert outcome.state == "success"
    [export] = flowroute.exports
    assert (export.start, export.end) == (
        datetime(2019, 6, 25, tzinfo=UTC),
        datetime(2019, 6, 26, tzinfo=UTC),
    )
    assert outcome.xcoms["create"] == export.id
    assert outcome.xcoms["report"] == "3 = 3"
    landed = outcome.xcoms["land"]
    assert [check["passed"] for check in landed.pop("reconciliation").values()] == [True, True, True, None]
    assert landed == {
        "path": f"{tmp_path}/2019-06-25.csv.gz",
        "rows": 3,
        "total_cost": "0.02468896",
        "billed_minutes": "3.00",
        "first_start": "2019-06-25T18:15:38+00:00",
        "last_start": "2019-06-25T18:18:54+00:00",
        "without_start": 0,
        "fees": {},
        "bytes": (tmp_path / "2019-06-25.csv.gz").stat().st_size,
        "export_id": export.id,
    }
    assert gzip.decompress((tmp_path / "2019-06-25.csv.gz").read_bytes()) == flowroute.csv(export.id)
    assert outcome.xcoms["wait"]["window"] == {
        "start": "2019-06-25T00:00:00+00:00",
        "end": "2019-06-26T00:00:00+00:00",
    }
    assert "download_url" not in str(outcome.xcoms)
    assert "X-Amz" not in str(outcome.xcoms)


def test_totals_reach_the_asset_events_of_the_outlets(flowroute, run_dag, tmp_path):
    lake = Asset("file://lake/cdrs")
    with a_dag("assets") as dag:
        create = CreateCdrExportOperator(task_id="create", **SAMPLE)
        CdrExportToObjectStorageOperator(
            task_id="land", export_id=create.output, path=f"{tmp_path}/day.parquet", outlets=[lake]
        )
    outcome = run_dag(dag)

    [extra] = event_extras(dag.dag_id)
    assert extra == outcome.xcoms["land"]
    assert (extra["rows"], extra["total_cost"], extra["export_id"]) == (
        3,
        "0.02468896",
        flowroute.exports[0].id,
    )
    assert json.dumps(extra)


def event_extras(dag_id: str) -> list[dict[str, Any]]:
    """Return the ``extra`` of the asset events that a DAG's tasks created."""
    from airflow.utils.session import create_session

    if AIRFLOW_2:
        from airflow.models.dataset import DatasetEvent as AssetEvent
    else:
        from airflow.models.asset import AssetEvent
    with create_session() as session:
        events = session.query(AssetEvent).filter(AssetEvent.source_dag_id == dag_id)
        return [event.extra for event in events]


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 keeps what was rendered before the task ran")
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=0.5)
def test_ui_shows_the_requested_window(flowroute, run_dag, deferrable):
    timetable = CronDataIntervalTimetable("@daily", timezone="America/New_York")
    with a_dag(f"shows_window_{deferrable}", schedule=timetable) as dag:
        CreateCdrExportOperator(
            task_id="create", wait_for_completion=True, deferrable=deferrable, poke_interval=0.2
        )
    run_dag(dag, datetime(2026, 11, 20, 5, tzinfo=UTC))

    rendered = rendered_fields(dag)
    assert rendered["start_call_start_time"] == "2026-11-19 05:00:00"
    assert rendered["start_call_end_time"] == "2026-11-20 05:00:00"


def rendered_fields(dag: DAG) -> dict[str, Any]:
    """Return the template fields of a DAG's only task, as the UI shows them."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(RenderedTaskInstanceFields).filter_by(dag_id=dag.dag_id).one()
        return dict(found.rendered_fields)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=0.5)
def test_create_waits_for_completion(flowroute, run_dag, deferrable):
    with a_dag(f"create_waits_{deferrable}") as dag:
        CreateCdrExportOperator(
            task_id="create", **SAMPLE, wait_for_completion=True, deferrable=deferrable, poke_interval=0.2
        )
    outcome = run_dag(dag)

    [export] = flowroute.exports
    assert (outcome.state, outcome.xcoms["create"], export.status) == ("success", export.id, "completed")


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=0.4)
def test_failed_export_is_recreated_on_the_next_try(flowroute, run_dag, deferrable):
    flowroute.add_fault("failed_export")
    with a_dag(f"recreated_{deferrable}") as dag:
        CreateCdrExportOperator(
            task_id="create",
            **SAMPLE,
            wait_for_completion=True,
            deferrable=deferrable,
            poke_interval=0.2,
            default_args=RETRIES,
            **RETRIES,
        )
    outcome = run_dag(dag)

    failed, recreated = flowroute.exports
    assert (failed.status, recreated.status) == ("failed", "completed")
    assert (outcome.state, outcome.tries["create"], outcome.xcoms["create"]) == ("success", 2, recreated.id)


def test_request_that_never_arrived_is_sent_by_the_next_try(flowroute, run_dag, quick_looks, what_tasks_keep):
    """The next try lists first, and no task state is left."""
    flowroute.add_fault("dropped_connection", on="create")
    with a_dag("created_again", default_args=RETRIES) as dag:
        CreateCdrExportOperator(task_id="create", **SAMPLE)
    outcome = run_dag(dag)

    [export] = flowroute.exports
    assert (outcome.state, outcome.tries["create"], outcome.xcoms["create"]) == ("success", 2, export.id)
    kinds = [request.on for request in flowroute.requests]
    assert kinds == ["create", "list", "list", "create"]
    assert what_tasks_keep(dag.dag_id) == []


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=0.8)
def test_retry_after_a_timeout_resumes_the_same_export(flowroute, run_dag, what_tasks_keep, deferrable):
    with a_dag(f"resumes_{deferrable}", default_args={**RETRIES, "retries": 9}) as dag:
        CreateCdrExportOperator(
            task_id="create",
            **SAMPLE,
            wait_for_completion=True,
            deferrable=deferrable,
            poke_interval=0.1,
            timeout=0.3,
        )
    outcome = run_dag(dag)

    [export] = flowroute.exports
    assert (outcome.state, outcome.xcoms["create"], outcome.tries["create"] > 1) == (
        "success",
        export.id,
        True,
    )
    assert what_tasks_keep(dag.dag_id) == []


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=0.4)
def test_sensor_fails_without_retries_on_a_failed_export(flowroute, run_dag, deferrable):
    flowroute.add_fault("failed_export")
    with a_dag(f"fails_{deferrable}", default_args=RETRIES) as dag:
        create = CreateCdrExportOperator(task_id="create", **SAMPLE)
        CdrExportSensor(task_id="wait", export_id=create.output, deferrable=deferrable, poke_interval=0.2)
    outcome = run_dag(dag)

    assert (outcome.state, outcome.states["wait"], outcome.tries["wait"]) == ("failed", "failed", 1)


@pytest.mark.parametrize(
    "fails_after",
    [
        pytest.param("first poke", marks=pytest.mark.flowroute(processing_seconds=0)),
        pytest.param("deferral", marks=pytest.mark.flowroute(processing_seconds=1)),
    ],
)
def test_soft_fail_skips_a_deferrable_sensor(flowroute, run_dag, fails_after):
    flowroute.add_fault("failed_export")
    with a_dag(f"soft_{fails_after.replace(' ', '_')}") as dag:
        create = CreateCdrExportOperator(task_id="create", **SAMPLE)
        CdrExportSensor(
            task_id="wait", export_id=create.output, deferrable=True, poke_interval=0.2, soft_fail=True
        )
    outcome = run_dag(dag)

    assert outcome.states["wait"] == "skipped"


@pytest.mark.flowroute(processing_seconds=3600)
def test_deferred_sensor_times_out_without_retries(flowroute, run_dag):
    with a_dag("times_out", default_args=RETRIES) as dag:
        create = CreateCdrExportOperator(task_id="create", **SAMPLE)
        CdrExportSensor(
            task_id="wait", export_id=create.output, deferrable=True, poke_interval=0.1, timeout=0.5
        )
    outcome = run_dag(dag)

    assert (outcome.states["wait"], outcome.tries["wait"]) == ("failed", 1)


@pytest.mark.flowroute(processing_seconds=1.0)
def test_reschedule_mode_pokes_until_completion(flowroute, run_dag):
    with a_dag("reschedules") as dag:
        create = CreateCdrExportOperator(task_id="create", **SAMPLE)
        CdrExportSensor(task_id="wait", export_id=create.output, mode="reschedule", poke_interval=0.5)
    outcome = run_dag(dag)

    assert (outcome.state, outcome.xcoms["wait"]["num_calls"]) == ("success", 3)


@pytest.mark.flowroute(calls_per_day=2)
def test_year_is_mapped_over_contiguous_windows(flowroute, run_dag, tmp_path):
    def landing(summary: dict[str, Any]) -> dict[str, str]:
        return {"export_id": summary["id"], "path": f"{tmp_path}/{summary['window']['start'][:10]}.csv"}

    with a_dag("backfill") as dag:

        @task
        def windows() -> list[dict[str, str]]:
            from airflow_provider_flowroute.cdr.window import Window

            return [
                {"start_call_start_time": str(w.start), "start_call_end_time": str(w.end)}
                for w in Window("2025-01-01", "2026-01-01").split()
            ]

        create = CreateCdrExportOperator.partial(task_id="create").expand_kwargs(windows())
        wait = CdrExportSensor.partial(task_id="wait", deferrable=True).expand(export_id=create.output)
        CdrExportToObjectStorageOperator.partial(task_id="land").expand_kwargs(wait.output.map(landing))
    outcome = run_dag(dag)

    assert outcome.state == "success"
    exports = sorted(flowroute.exports, key=lambda export: export.start)
    assert len(exports) == 4
    assert [a.end for a in exports[:-1]] == [b.start for b in exports[1:]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2025-01-01.csv",
        "2025-04-03.csv",
        "2025-07-04.csv",
        "2025-10-04.csv",
    ]
    rows = sum(len(path.read_bytes().splitlines()) - 1 for path in tmp_path.iterdir())
    assert rows == sum(export.num_calls for export in exports)


def test_templated_values_get_their_types_back(flowroute, run_dag):
    with a_dag(
        "templates", params={"seconds": 60, "tollfree": True, "nothing": None, "number": "+12065551212"}
    ) as dag:
        CreateCdrExportOperator(
            task_id="create",
            start_call_start_time="{{ data_interval_end.subtract(days=2) }}",
            start_call_end_time="{{ data_interval_end }}",
            filter_parameters={
                "duration_greater_than": "{{ params.seconds }}",
                "tollfree_only": "{{ params.tollfree }}",
                "direction": "{{ params.nothing }}",
                "callerid_numbers": "{{ [params.number] }}",
                "number_aliases": ["Office {{ params.seconds }}"],
            },
            callback_url="{{ none }}",
        )
    outcome = run_dag(dag)

    assert outcome.state == "success", outcome.log[-3000:]
    [export] = flowroute.exports
    assert (export.end, export.end - export.start) == (DAY, timedelta(days=2))
    assert export.filter_parameters == {
        "start_call_start_time": "2026-11-18 00:00:00",
        "start_call_end_time": "2026-11-20 00:00:00",
        "duration_greater_than": 60,
        "tollfree_only": True,
        "callerid_numbers": ["+12065551212"],
        "number_aliases": ["Office 60"],
    }
    assert export.callback_url is None


@pytest.mark.flowroute(conn_id="flowroute_emea")
def test_connection_id_is_templated(flowroute, run_dag):
    with a_dag("templated_connection", params={"region": "emea"}) as dag:
        conn_id = "flowroute_{{ params.region }}"
        create = CreateCdrExportOperator(task_id="create", **SAMPLE, flowroute_conn_id=conn_id)
        CdrExportSensor(task_id="wait", export_id=create.output, flowroute_conn_id=conn_id)
    outcome = run_dag(dag)

    assert (outcome.state, outcome.xcoms["wait"]["id"]) == ("success", flowroute.exports[0].id)


def test_native_rendering_keeps_phone_numbers_and_dates(flowroute, run_dag):
    with a_dag("native", render_template_as_native_obj=True, params={"number": "+12065551212"}) as dag:
        CreateCdrExportOperator(
            task_id="create",
            start_call_end_time="{{ data_interval_end }}",
            start_call_start_time="{{ data_interval_end.subtract(days=1) }}",
            filter_parameters={
                "callerid_numbers": ["{{ params.number }}"],
                "duration_less_than": "{{ 2 * 30 }}",
            },
        )
    outcome = run_dag(dag)

    assert outcome.state == "success", outcome.log[-3000:]
    [export] = flowroute.exports
    assert export.filter_parameters["callerid_numbers"] == ["12065551212"]
    assert export.filter_parameters["duration_less_than"] == 60
    assert (export.start, export.end) == (DAY - timedelta(days=1), DAY)


def test_mistake_is_an_import_error_of_the_dag(airflow_db, tmp_path):
    (tmp_path / "mistake.py").write_text(
        "from datetime import datetime\n"
        "from airflow.providers.common.compat.sdk import DAG\n"
        "from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator\n"
        "with DAG('mistake', schedule=None, start_date=datetime(2026, 1, 1)):\n"
        "    CreateCdrExportOperator(task_id='create', timeout='1h')\n"
    )
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag

    [error] = DagBag(str(tmp_path)).import_errors.values()
    assert "timeout is not a duration" in error


def test_mistake_in_a_mapped_task_fails_without_retries(flowroute, run_dag):
    with a_dag("mapped_mistake", default_args=RETRIES) as dag:
        CreateCdrExportOperator.partial(task_id="create", **SAMPLE).expand(
            filter_parameters=[{"direction": "sideways"}]
        )
    outcome = run_dag(dag)

    assert (outcome.states["create[0]"], outcome.tries["create[0]"]) == ("failed", 1)
    assert flowroute.requests == []


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 gives every run a logical date")
def test_run_without_a_logical_date_fails_without_retries(flowroute, run_dag):
    with a_dag("no_interval", default_args=RETRIES) as dag:
        CreateCdrExportOperator(task_id="create")
    outcome = run_dag(dag, None)

    assert (outcome.states["create"], outcome.tries["create"], flowroute.exports) == ("failed", 1, [])


@pytest.mark.skipif(AIRFLOW_BEFORE_3_3, reason="Airflow has no retry policies before 3.3")
def test_retry_after_a_429_waits_as_flowroute_requests(flowroute, run_dag, monkeypatch):
    monkeypatch.setattr("airflow_provider_flowroute.utils.retry_policy.MAX_DELAY", timedelta(seconds=2))
    flowroute.add_fault("rate_limit", on="create", retry_after=3600)
    with a_dag("retry_after", default_args=RETRIES) as dag:
        CreateCdrExportOperator(task_id="create", **SAMPLE)
    outcome = run_dag(dag)

    assert (outcome.state, outcome.tries["create"]) == ("success", 2)
    first, second = try_times(dag)
    assert second - first >= timedelta(seconds=2)


def try_times(dag: DAG) -> list[datetime]:
    """Return when the first try of a DAG's only task ended and when its last one started."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session

    with create_session() as session:
        first = session.query(TaskInstanceHistory).filter_by(dag_id=dag.dag_id).one()
        last = session.query(TaskInstance).filter_by(dag_id=dag.dag_id).one()
        assert first.end_date
        assert last.start_date
        return [first.end_date, last.start_date]
