"""CdrCompletenessCheckOperator, on files that were landed from a simulated account."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_flowroute.cdr.columns import FEE_COLUMNS
from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.iceberg import a_catalog, connection_to_catalog, needs_sql_catalog

pytestmark = pytest.mark.flowroute(calls_per_day=20)

START, END = "2026-07-01", "2026-07-04"


def export_of(start: object, end: object, **filters: Any) -> str:
    """Create an export and return its ID."""
    window = {"start_call_start_time": str(start), "start_call_end_time": str(end)}
    return CreateCdrExportOperator(task_id="create", filter_parameters=window | filters).execute({})


def land(
    path: Path, start: object, end: object, filters: dict[str, Any] | None = None, **options: Any
) -> str:
    """Land the calls of a window and return the export's ID."""
    export_id = export_of(start, end, **(filters or {}))
    CdrExportToObjectStorageOperator(task_id="land", export_id=export_id, path=str(path), **options).execute(
        {}
    )
    return export_id


def land_days(lake: Path, first: str, days: int) -> None:
    """Land days as one file each, as the example DAG does."""
    for number in range(days):
        day = date.fromisoformat(first) + timedelta(days=number)
        land(lake / f"{day}" / "cdrs.parquet", day, day + timedelta(days=1))


def check(path: object, **options: Any) -> dict[str, Any]:
    """Run the check."""
    options = {"start": START, "end": END, **options}
    return CdrCompletenessCheckOperator(task_id="check", path=str(path), **options).execute({})


@pytest.fixture
def lake(flowroute, tmp_path) -> Path:
    """Three landed days."""
    land_days(tmp_path, START, 3)
    return tmp_path


def test_complete_period_returns_flowroutes_totals(flowroute, lake):
    """The figures per day and in all are those of the exports; the export of the period is not downloaded."""
    days = flowroute.exports
    downloads = sum(request.on == "download" for request in flowroute.requests)
    export_id = export_of(START, END)

    figures = check(lake / "{date}" / "cdrs.parquet", export_id=export_id)

    period = flowroute.exports[-1]
    assert figures["total"]["rows"] == period.num_calls
    assert {day: values["rows"] for day, values in figures["days"].items()} == {
        f"{export.start:%Y-%m-%d}": export.num_calls for export in days
    }
    assert Decimal(figures["total"]["total_cost"]) == sum(
        Decimal(values["total_cost"]) for values in figures["days"].values()
    )
    assert figures["total"]["fees"].keys() == FEE_COLUMNS.keys()
    assert figures["export_id"] == export_id
    assert sum(request.on == "download" for request in flowroute.requests) == downloads


def test_glob_finds_the_same_files_as_the_date(lake):
    assert check(lake / "*" / "cdrs.parquet") == check(lake / "{date}" / "cdrs.parquet")


def test_files_outside_the_period_do_not_count(lake):
    figures = check(lake / "*" / "cdrs.parquet", start="2026-07-02", end="2026-07-03")

    assert list(figures["days"]) == ["2026-07-02"]


@pytest.mark.parametrize("pattern", ["{date}/cdrs.parquet", "*/cdrs.parquet"])
def test_missing_day_fails_the_task_with_its_name(lake, pattern):
    shutil.rmtree(lake / "2026-07-02")

    with pytest.raises(AirflowFailException, match=r"(?m)^Missing: 2026-07-02\.$"):
        check(lake / pattern)


def test_at_most_twenty_days_are_named(flowroute, tmp_path):
    with pytest.raises(AirflowFailException) as failure:
        check(tmp_path / "{date}.parquet", start="2026-07-01", end="2026-08-01")

    [line] = [line for line in str(failure.value).splitlines() if line.startswith("Missing")]
    assert line.startswith("Missing: 2026-07-01, 2026-07-02, ")
    assert line.endswith(", 2026-07-20 and 11 more.")


def test_part_of_a_missing_day_is_named_with_its_times(flowroute, tmp_path):
    land(tmp_path / "a.parquet", "2026-07-01 00:00:00", "2026-07-01 18:00:00")

    with pytest.raises(AirflowFailException, match=r"Missing: 2026-07-01 \(18:00:00 to 24:00:00\)\."):
        check(tmp_path / "*.parquet", end="2026-07-02")


def test_doubled_day_fails_the_task_with_its_name(lake):
    land(lake / "again" / "cdrs.parquet", "2026-07-02", "2026-07-03")

    with pytest.raises(AirflowFailException, match=r"(?m)^Doubled: 2026-07-02\.$"):
        check(lake / "*" / "cdrs.parquet")


def test_day_that_was_landed_despite_a_mismatch_fails_the_task(flowroute, lake):
    flowroute.add_fault("wrong_num_calls")
    land(lake / "2026-07-03" / "cdrs.parquet", "2026-07-03", "2026-07-04", on_mismatch="warn")

    with pytest.raises(AirflowFailException, match=r"(?m)^Not reconciled: 2026-07-03\.$"):
        check(lake / "{date}" / "cdrs.parquet")


def test_different_totals_fail_the_task_with_both_values(flowroute, lake):
    land(lake / "2026-07-03" / "cdrs.parquet", "2026-07-03", "2026-07-04", {"direction": "inbound"})
    export_id = export_of(START, END)

    with pytest.raises(AirflowFailException) as failure:
        check(lake / "{date}" / "cdrs.parquet", export_id=export_id)

    landed = sum(len(pq.read_table(path)) for path in lake.rglob("*.parquet"))
    assert f"num_calls {landed} instead of {flowroute.exports[-1].num_calls}." in str(failure.value)
    for name in ("call_subtotal", "usf_fees", "ccrf", "billed_minutes", "total_cost"):
        assert re.search(rf"\b{name} [\d.]+ instead of [\d.]+", str(failure.value)), name


def test_export_of_another_period_is_refused(flowroute, lake):
    export_id = export_of("2026-07-01", "2026-07-03")

    with pytest.raises(AirflowFailException, match="is not an export of the period"):
        check(lake / "{date}" / "cdrs.parquet", export_id=export_id)


def test_files_that_reach_beyond_the_period_fail_the_task(flowroute, tmp_path):
    """Their totals include calls of other days."""
    land(tmp_path / "long.parquet", "2026-06-30", "2026-07-04")

    with pytest.raises(AirflowFailException, match=r"Beyond the period: \S+/long\.parquet"):
        check(tmp_path / "*.parquet")


def test_file_of_several_days_has_one_entry(flowroute, tmp_path):
    land(tmp_path / "long.parquet", START, END)

    figures = check(tmp_path / "*.parquet")

    assert list(figures["days"]) == ["2026-07-01 .. 2026-07-03"]
    assert figures["days"]["2026-07-01 .. 2026-07-03"] == figures["total"]


def test_days_are_those_of_the_time_zone(flowroute, tmp_path):
    """The day of the change to winter time has 25 hours."""
    berlin = {"timezone": "Europe/Berlin", "start": "2026-10-24", "end": datetime(2026, 10, 26)}  # noqa: DTZ001
    land(tmp_path / "2026-10-24.parquet", "2026-10-23T22:00:00+00:00", "2026-10-24T22:00:00+00:00")
    land(tmp_path / "2026-10-25.parquet", "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00")

    figures = check(tmp_path / "{date}.parquet", **berlin)

    assert list(figures["days"]) == ["2026-10-24", "2026-10-25"]
    assert figures["end"] == "2026-10-26T00:00:00+01:00"


def test_other_parquet_files_are_ignored_with_a_warning(lake, caplog):
    pq.write_table(pa.table({"a": [1]}), lake / "2026-07-01" / "other.parquet")

    check(lake / "*" / "*.parquet")

    assert "other.parquet: there is no such file, or a landing did not write it." in caplog.text


def test_report_is_written_before_the_task_fails(lake):
    shutil.rmtree(lake / "2026-07-02")

    with pytest.raises(AirflowFailException):
        check(lake / "{date}" / "cdrs.parquet", report_path=str(lake / "report.html"))

    assert "2026-07-02" in (lake / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "cdrs/{date}.parquet"}, "not absolute"),
        ({"report_path": "report.html"}, "not absolute"),
        ({"timezone": "Mars/Olympus"}, "no such time zone"),
        ({"start": END}, "The window is empty"),
        ({"end": "{broken"}, "is not a date and time"),
        ({"export_id": " "}, "is not the ID of an export"),
    ],
)
def test_wrong_literals_break_the_dag_import(options, message):
    arguments = {"path": "/lake/{date}.parquet", "start": START, "end": END} | options

    with pytest.raises(AirflowException, match=message):
        CdrCompletenessCheckOperator(task_id="check", **arguments)


def test_templates_are_checked_when_they_are_rendered():
    template = "{{ var.value.anything }}"

    CdrCompletenessCheckOperator(
        task_id="check", path=template, start=template, end=template, timezone=template, export_id=template
    )


def test_dates_and_datetimes_are_accepted(lake):
    figures = check(
        lake / "{date}" / "cdrs.parquet", start=date(2026, 7, 1), end=datetime(2026, 7, 4, tzinfo=UTC)
    )

    assert len(figures["days"]) == 3


@pytest.fixture
def table(flowroute, tmp_path, monkeypatch) -> dict[str, str]:
    """Three days in an Iceberg table, each landed by itself: the arguments that name the table."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path))
    arguments = {"iceberg_conn_id": "lake", "table": "telephony.cdrs"}
    for start, end in (("2026-07-01", "2026-07-02"), ("2026-07-02", "2026-07-03"), ("2026-07-03", END)):
        CdrExportToIcebergOperator(task_id="land", export_id=export_of(start, end), **arguments).execute({})
    return arguments


def check_table(table: dict[str, str], **options: Any) -> dict[str, Any]:
    """Run the check of a table."""
    options = {"start": START, "end": END, "iceberg_conn_id": table["iceberg_conn_id"], **options}
    return CdrCompletenessCheckOperator(task_id="check", iceberg_table=table["table"], **options).execute({})


@needs_sql_catalog
def test_table_is_checked_from_its_snapshots(flowroute, table):
    """A day that was landed again counts once."""
    again = export_of("2026-07-02", "2026-07-03")
    CdrExportToIcebergOperator(task_id="land", export_id=again, **table).execute({})

    figures = check_table(table, export_id=export_of(START, END))

    assert list(figures["days"]) == ["2026-07-01", "2026-07-02", "2026-07-03"]
    assert figures["total"]["rows"] == flowroute.exports[-1].num_calls


@needs_sql_catalog
def test_missing_day_of_a_table_fails_the_task(table):
    with pytest.raises(AirflowFailException, match=r"(?m)^Missing: 2026-07-04\.$"):
        check_table(table, end="2026-07-05")


@needs_sql_catalog
def test_calls_that_another_program_deleted_fail_the_task(table, tmp_path):
    a_catalog(tmp_path).load_table(table["table"]).delete("start_time >= '2026-07-02T00:00:00+00:00'")

    with pytest.raises(
        AirflowFailException, match=r"Changed after the landing: \d+ calls in the table, \d+ in"
    ):
        check_table(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": None}, "One of path and iceberg_table"),
        ({"iceberg_table": "telephony.cdrs"}, "One of path and iceberg_table"),
        ({"path": None, "iceberg_table": "cdrs"}, "names no table"),
        ({"path": None, "iceberg_table": "a.b", "report_path": "/r.html"}, "report_path is set for a table"),
        ({"path": None, "iceberg_table": "a.b", "catalog": "a", "iceberg_conn_id": "b"}, "are both set"),
    ],
)
def test_arguments_that_exclude_each_other_break_the_dag_import(options, message):
    arguments = {"path": "/lake/{date}.parquet", "start": START, "end": END} | options

    with pytest.raises(AirflowException, match=message):
        CdrCompletenessCheckOperator(task_id="check", **arguments)
