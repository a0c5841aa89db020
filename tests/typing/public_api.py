"""The types of the public API. mypy checks this file (`make types`); nothing runs it.

A `type: ignore` marks a mistake that mypy must find: it reports an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import FlowrouteAPIError, FlowrouteError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.report import ReportData, write_report
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger
from airflow_provider_flowroute.triggers.events import CdrExportCompletedEventTrigger


def check_hook(hook: FlowrouteHook) -> None:
    """A hook gives a client and the result of a connection test."""
    assert_type(FlowrouteHook(), FlowrouteHook)
    assert_type(FlowrouteHook("my_flowroute"), FlowrouteHook)
    assert_type(hook.get_conn(), FlowrouteClient)
    assert_type(hook.test_connection(), tuple[bool, str])
    FlowrouteHook(flowroute_conn_id=1)  # type: ignore[arg-type]


async def check_async_hook(hook: FlowrouteHook) -> None:
    """A trigger gets its client without blocking."""
    assert_type(await hook.aget_conn(), FlowrouteClient)


def check_client(client: FlowrouteClient, window: dict[str, Any]) -> None:
    """A client returns exports, not JSON."""
    assert_type(client.create_cdr_export(window), CdrExport)
    assert_type(client.get_cdr_export("1"), CdrExport)
    assert_type(client.poll_cdr_export("1"), CdrExport | None)
    for export in client.list_cdr_exports():
        assert_type(export, CdrExport)
    client.get_cdr_export(1)  # type: ignore[arg-type]
    client.create_cdr_export("2026-11-23")  # type: ignore[arg-type]


def check_export(export: CdrExport) -> None:
    """An export holds values with their own types; figures may be missing."""
    assert_type(export.id, str)
    assert_type(export.is_completed, bool)
    assert_type(export.num_calls, int | None)
    assert_type(export.total_cost, Decimal | None)
    assert_type(export.window, Window | None)
    assert_type(export.summary(), dict[str, Any])
    export.id = "2"  # type: ignore[misc]
    print(export.num_calls + 1)  # type: ignore[operator]  # noqa: T201


def check_window(start: datetime, end: datetime) -> None:
    """A window has aware datetimes and splits into windows."""
    window = Window(start, end)
    assert_type(window.start, datetime)
    assert_type(window.split(), Iterator[Window])
    Window(start)  # type: ignore[call-arg]
    Window(1, 2)  # type: ignore[arg-type]


def check_operators(start: datetime) -> None:
    """A window is text or a datetime; an interval is seconds or a timedelta."""
    CreateCdrExportOperator(task_id="create")
    CreateCdrExportOperator(
        task_id="create",
        start_call_start_time="{{ data_interval_start }}",
        start_call_end_time=start,
        filter_parameters={"direction": "inbound"},
        wait_for_completion=True,
        poke_interval=timedelta(minutes=1),
        timeout=3600,
    )
    CdrExportSensor(task_id="wait", export_id="{{ ti.xcom_pull('create') }}", deferrable=True)
    CdrExportToObjectStorageOperator(task_id="land", export_id="1", path="s3://lake/cdrs.parquet")
    CdrExportToObjectStorageOperator(
        task_id="land", export_id="1", path="/lake/{date}.parquet", partition_by="day", overwrite="if_changed"
    )
    CdrExportToIcebergOperator(task_id="land", export_id="1", table="telephony.cdrs", overwrite="if_changed")

    CreateCdrExportOperator(task_id="create", start_call_start_time=20261123)  # type: ignore[arg-type]
    CreateCdrExportOperator(task_id="create", poke_interval="1h")  # type: ignore[arg-type]
    CdrExportSensor(task_id="wait", export_id=1)  # type: ignore[arg-type]
    CdrExportSensor(task_id="wait")  # type: ignore[call-arg]
    CdrExportToObjectStorageOperator(task_id="land", export_id="1")  # type: ignore[call-arg]
    CdrExportToObjectStorageOperator(
        task_id="land",
        export_id="1",
        path="/x.parquet",
        partition_by="hour",  # type: ignore[arg-type]
    )
    CdrExportToIcebergOperator(task_id="land", export_id="1")  # type: ignore[call-arg]


def check_trigger(trigger: CdrExportTrigger) -> None:
    """A trigger serializes to its path and arguments."""
    assert_type(trigger.serialize(), tuple[str, dict[str, Any]])


def check_errors(error: FlowrouteError, answer: FlowrouteAPIError) -> None:
    """An error says whether a retry may help."""
    assert_type(error.transient, bool)
    raise answer


def check_simulator() -> None:
    """A simulator is a context manager with a URL."""
    with FlowrouteSimulator(calls_per_day=50) as flowroute:
        assert_type(flowroute, FlowrouteSimulator)
        assert_type(flowroute.url, str)
        assert_type(flowroute.connection_json, str)


def check_report(path: Path) -> None:
    """A report is written from one path or several, for days as dates, instants or text."""
    assert_type(write_report("lake", path), ReportData)
    data = write_report(
        [path, "s3://lake/cdrs"], "s3://lake/report.html", "2026-07-01", date(2026, 8, 1), previous=path
    )
    assert_type(data.totals.cost, Decimal)
    write_report(path, path, 20260701)  # type: ignore[arg-type]


def check_watcher() -> None:
    """A watcher's trigger takes seconds or timedeltas."""
    CdrExportCompletedEventTrigger("my_flowroute", 30, min_window=timedelta(days=1), filter_parameters={})
    CdrExportCompletedEventTrigger(max_window=86400.0, callback_url_prefix="https://hooks.example.com/")
    CdrExportCompletedEventTrigger(poke_interval="1")  # type: ignore[arg-type]
