"""Replacing a window of an Iceberg table: exactly the window, in one commit, with other writers about."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, HourTransform, MonthTransform
from pyiceberg.types import (
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import CdrExportLandingError, FlowrouteValueError
from airflow_provider_flowroute.landing.arrow import CdrParquetWriter, schema_of
from airflow_provider_flowroute.landing.iceberg import (
    check_table,
    landed_window,
    load_or_create_table,
    replace_window,
)
from airflow_provider_flowroute.landing.reconciliation import Totals
from tests.iceberg import a_catalog, data_files, needs_sql_catalog, rows_in

pytestmark = needs_sql_catalog

DAYS = Window("2026-11-01", "2026-11-04")


@pytest.fixture
def catalog(tmp_path):
    return a_catalog(tmp_path)


@pytest.fixture
def table(catalog):
    return load_or_create_table(catalog, "lake.cdrs")


class Landing:
    """Day files of a landing: one call at each hour of a window, every ``step`` hours."""

    def __init__(
        self, directory: Path, window: Window, export_id: str, step: int = 6, columns=COLUMNS
    ) -> None:
        self.window, self.columns, self.export_id = window, columns, export_id
        calls: dict[str, list[datetime]] = {}
        start = window.start
        while start < window.end:
            calls.setdefault(start.date().isoformat(), []).append(start)
            start += timedelta(hours=step)
        self.rows = sum(map(len, calls.values()))
        self.files = [
            self._file(directory / export_id / f"{day}.parquet", starts) for day, starts in calls.items()
        ]

    def _file(self, path: Path, starts: list[datetime]) -> Path:
        path.parent.mkdir(exist_ok=True)
        rows = [
            {
                **dict.fromkeys(self.columns),
                "start_time": start,
                "total_cost": Decimal("0.00000001"),
                "duration": 7,
                "cdr_id": f"{start.isoformat()} of {self.export_id}",
            }
            for start in starts
        ]
        writer = CdrParquetWriter(path, self.columns)
        writer.write(pa.Table.from_pylist(rows, schema=schema_of(self.columns)))
        writer.close()
        return path

    @property
    def properties(self) -> dict[str, str]:
        return {
            "flowroute.export_id": self.export_id,
            "flowroute.window_start": self.window.start.isoformat(),
            "flowroute.window_end": self.window.end.isoformat(),
            "flowroute.totals": json.dumps(Totals(rows=self.rows).as_json()),
            "flowroute.reconciliation": "{}",
        }

    def land(self, table):
        return replace_window(table, self.window, self.files, self.columns, self.properties)


@pytest.fixture
def a_landing(tmp_path):
    def make(window: Window = DAYS, export_id: str = "1", **options) -> Landing:
        return Landing(tmp_path, window, export_id, **options)

    return make


def exports_in(table) -> dict[str, int]:
    """The number of calls of each export."""
    counts: dict[str, int] = {}
    for row in rows_in(table):
        export_id = row["cdr_id"].split(" of ")[1]
        counts[export_id] = counts.get(export_id, 0) + 1
    return counts


def test_a_new_table_has_the_documented_types_and_utc_days(table):
    schema = table.schema()
    assert schema.column_names == list(COLUMNS)
    assert schema.find_type("total_cost") == DecimalType(18, 8)
    assert schema.find_type("start_time") == TimestamptzType()
    assert schema.find_type("duration") == IntegerType()
    assert schema.find_type("callerid") == StringType()
    assert schema.find_field("rate").doc == "US dollars"
    assert [str(field) for field in table.spec().fields] == ["1000: start_time_day: day(2)"]


def test_a_second_landing_replaces_the_first(table, a_landing):
    assert (first := a_landing()).land(table).summary["flowroute.export_id"] == "1"
    assert exports_in(table) == {"1": 12}

    a_landing(export_id="2", step=3).land(table)

    assert exports_in(table) == {"2": 24}
    [row] = [row for row in rows_in(table) if row["cdr_id"].startswith("2026-11-01T03")]
    assert row["start_time"] == datetime(2026, 11, 1, 3, tzinfo=UTC)
    assert (row["total_cost"], row["duration"], row["direction"]) == (Decimal("0.00000001"), 7, None)
    assert first.rows == 12


def test_an_older_snapshot_stays_readable(table, a_landing):
    old = a_landing().land(table)
    a_landing(export_id="2", step=3).land(table)

    assert len(rows_in(table, snapshot_id=old.snapshot_id)) == 12


def test_both_snapshots_of_a_landing_become_visible_together(table, a_landing, catalog):
    a_landing().land(table)
    before = len(table.metadata.metadata_log)

    a_landing(export_id="2").land(table)

    loaded = catalog.load_table("lake.cdrs")
    assert len(loaded.metadata.metadata_log) == before + 1
    assert [snapshot.summary["operation"].value for snapshot in loaded.snapshots()] == [
        "append",
        "delete",
        "append",
    ]


def test_only_the_window_is_replaced_also_within_a_day(table, a_landing):
    a_landing(step=1).land(table)
    inside = Window("2026-11-02 06:00:00", "2026-11-02 18:00:00")

    a_landing(inside, "2", step=3).land(table)

    assert exports_in(table) == {"1": 72 - 12, "2": 4}
    at_the_ends = {
        row["start_time"].hour: row["cdr_id"][-1]
        for row in rows_in(
            table,
            row_filter=(
                "start_time >= '2026-11-02T05:00:00+00:00' and start_time <= '2026-11-02T18:00:00+00:00'"
            ),
        )
    }
    assert (at_the_ends[5], at_the_ends[6], at_the_ends[15], at_the_ends[18]) == ("1", "2", "2", "1")


def test_days_of_another_time_zone_are_replaced_without_a_rewrite(table, a_landing):
    first = Window("2026-11-02T00:00:00-05:00", "2026-11-03T00:00:00-05:00")
    second = Window("2026-11-03T00:00:00-05:00", "2026-11-04T00:00:00-05:00")
    a_landing(first, "1").land(table)
    a_landing(second, "2").land(table)

    a_landing(first, "3").land(table)

    assert exports_in(table) == {"2": 4, "3": 4}
    operations = [snapshot.summary["operation"].value for snapshot in table.snapshots()]
    assert operations == ["append", "append", "delete", "append"]


def test_an_empty_window_removes_the_old_calls_and_is_recorded(table, a_landing):
    a_landing().land(table)

    empty = Landing.__new__(Landing)
    empty.window, empty.columns, empty.export_id, empty.rows, empty.files = DAYS, COLUMNS, "2", 0, []
    snapshot = empty.land(table)

    assert rows_in(table) == []
    assert snapshot == table.current_snapshot()
    landed = landed_window(table, DAYS)
    assert landed is not None
    assert (landed.footer.export_id, landed.files) == ("2", [])


def test_a_new_column_extends_the_table(table, a_landing):
    a_landing().land(table)
    columns = (*COLUMNS, "stir_shaken")

    a_landing(Window("2026-11-04", "2026-11-05"), "2", columns=columns).land(table)
    a_landing(export_id="3").land(table)

    assert table.schema().find_type("stir_shaken") == StringType()
    assert exports_in(table) == {"2": 4, "3": 12}


def test_a_landing_that_fails_leaves_table_and_storage_as_they_were(table, a_landing, tmp_path):
    landing = a_landing()
    landing.files.append(tmp_path / "missing.parquet")

    with pytest.raises(CdrExportLandingError, match=r"missing\.parquet"):
        landing.land(table)

    assert data_files(tmp_path / "warehouse") == set()
    assert table.refresh().snapshots() == []


def test_pyiceberg_logs_nothing_that_needs_no_action(table, a_landing, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        a_landing().land(table)

    assert caplog.messages == []
    assert [str(warning.message) for warning in recwarn] == []


TABLES = {
    "a type": (NestedField(1, "total_cost", DoubleType()), "total_cost", "optional double", "decimal(18, 8)"),
    "a wider decimal": (
        NestedField(1, "rate", DecimalType(38, 8)), "rate", "optional decimal(38, 8)", "decimal(18, 8)"
    ),
    "a time without a zone": (NestedField(1, "start_time", StringType()), "start_time", "string", "timestamptz"),
    "a required column": (
        NestedField(1, "callerid", StringType(), required=True), "callerid", "required string", "optional string"
    ),
    "a required column that files lack": (
        NestedField(1, "tenant", LongType(), required=True), "tenant", "required long", "no such column"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("field", "name", "in_table", "in_files"), TABLES.values(), ids=TABLES)
def test_an_incompatible_column_is_named_with_both_types(catalog, field, name, in_table, in_files):
    catalog.create_namespace("lake")
    table = catalog.create_table("lake.cdrs", Schema(field))

    with pytest.raises(FlowrouteValueError) as error:
        check_table(table)

    assert str(error.value).splitlines()[0] == f"Column {name} of table lake.cdrs does not fit the files."
    assert in_table in str(error.value)
    assert in_files in str(error.value)


def test_wider_types_and_further_columns_are_accepted(catalog, a_landing):
    catalog.create_namespace("lake")
    schema = Schema(
        NestedField(1, "tenant", LongType()),
        NestedField(2, "duration", LongType()),
    )
    table = catalog.create_table("lake.cdrs", schema)
    check_table(table)

    a_landing().land(table)

    assert {(row["tenant"], row["duration"]) for row in rows_in(table)} == {(None, 7)}


def test_a_table_by_months_is_accepted(table, a_landing):
    with table.update_spec() as update:
        update.remove_field("start_time_day")
        update.add_field("start_time", MonthTransform(), "month")
    check_table(table)
    landing = a_landing(Window("2026-10-30", "2026-11-02"))

    landing.land(table)

    assert exports_in(table) == {"1": 12}


@pytest.mark.parametrize(
    ("column", "transform", "text"),
    [
        ("start_time", HourTransform(), "hour of start_time"),
        ("callerid", BucketTransform(4), "bucket[4] of callerid"),
    ],
)
def test_partitions_that_day_files_do_not_fit_are_an_error(table, column, transform, text):
    with table.update_spec() as update:
        update.add_field(column, transform, "part")

    with pytest.raises(FlowrouteValueError, match="has partitions that day files do not fit") as error:
        check_table(table)

    assert text in str(error.value)


def test_partitions_of_a_table_without_start_time_are_an_error(catalog):
    catalog.create_namespace("lake")
    table = catalog.create_table("lake.cdrs", Schema(NestedField(1, "tenant", LongType())))
    with table.update_spec() as update:
        update.add_identity("tenant")

    with pytest.raises(FlowrouteValueError, match="One is identity of tenant"):
        check_table(table)


def test_a_table_without_metrics_of_start_time_is_an_error(table):
    with table.transaction() as transaction:
        transaction.set_properties({"write.metadata.metrics.default": "none"})

    with pytest.raises(FlowrouteValueError, match="keeps no minimum and maximum"):
        check_table(table)


@pytest.mark.parametrize("landed_before", [False, True])
def test_of_two_writers_of_a_window_one_fails_and_can_retry(catalog, a_landing, landed_before, tmp_path):
    table = load_or_create_table(catalog, "lake.cdrs")
    if landed_before:
        a_landing().land(table)
    one, other = catalog.load_table("lake.cdrs"), catalog.load_table("lake.cdrs")
    a_landing(export_id="2", step=3).land(one)
    files = data_files(tmp_path / "warehouse")

    with pytest.raises(CdrExportLandingError, match="Another writer changed the table") as error:
        a_landing(export_id="3", step=2).land(other)

    assert error.value.transient
    assert exports_in(catalog.load_table("lake.cdrs")) == {"2": 24}
    assert data_files(tmp_path / "warehouse") == files
    a_landing(export_id="3", step=2).land(catalog.load_table("lake.cdrs"))
    assert exports_in(catalog.load_table("lake.cdrs")) == {"3": 36}


@pytest.mark.parametrize("landed_before", [False, True])
def test_two_writers_of_different_windows_both_land(catalog, a_landing, landed_before):
    table = load_or_create_table(catalog, "lake.cdrs")
    half_days = Window("2026-11-02", "2026-11-02 12:00:00"), Window("2026-11-02 12:00:00", "2026-11-03")
    if landed_before:
        for number, window in enumerate(half_days):
            a_landing(window, f"0{number}").land(table)
    one, other = catalog.load_table("lake.cdrs"), catalog.load_table("lake.cdrs")

    a_landing(half_days[0], "2").land(one)
    a_landing(half_days[1], "3").land(other)

    assert exports_in(catalog.load_table("lake.cdrs")) == {"2": 2, "3": 2}


def test_a_lost_response_of_the_catalog_keeps_the_files(table, a_landing, monkeypatch, catalog):
    commit = type(catalog).commit_table

    def commit_and_lose_the_response(*arguments):
        commit(*arguments)
        raise ConnectionResetError("the response is lost")

    monkeypatch.setattr(type(catalog), "commit_table", commit_and_lose_the_response)
    with pytest.raises(CdrExportLandingError, match="the response is lost") as error:
        a_landing().land(table)
    monkeypatch.undo()

    assert error.value.transient
    assert exports_in(catalog.load_table("lake.cdrs")) == {"1": 12}
    a_landing(export_id="2").land(catalog.load_table("lake.cdrs"))
    assert exports_in(catalog.load_table("lake.cdrs")) == {"2": 12}


def test_commits_that_never_succeed_leave_no_files(table, a_landing, monkeypatch, catalog, tmp_path):
    with table.transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "1", "commit.retry.min-wait-ms": "1"})

    def refuse(*arguments):
        raise CommitFailedException("someone was faster")

    monkeypatch.setattr(type(catalog), "commit_table", refuse)
    with pytest.raises(CdrExportLandingError, match="someone was faster"):
        a_landing().land(table)

    assert data_files(tmp_path / "warehouse") == set()


def test_the_newest_landing_of_a_window_is_found(table, a_landing):
    assert landed_window(table, DAYS) is None
    a_landing().land(table)
    a_landing(export_id="2").land(table)
    a_landing(Window("2026-11-04", "2026-11-05"), "3").land(table)

    landed = landed_window(table, DAYS)

    assert landed is not None
    assert (landed.footer.export_id, len(landed.files)) == ("2", 3)
    assert sorted(row["cdr_id"] for part in landed.read(["cdr_id"]) for row in part.to_pylist()) == sorted(
        row["cdr_id"] for row in rows_in(table) if row["cdr_id"].endswith("2")
    )
    assert landed_window(table, Window("2026-11-01", "2026-11-03")) is None


def test_a_window_that_was_changed_since_does_not_count_as_landed(table, a_landing):
    a_landing().land(table)
    a_landing(Window("2026-11-02", "2026-11-03"), "2").land(table)
    assert landed_window(table, DAYS) is None

    a_landing(export_id="3").land(table)
    assert landed_window(table, DAYS) is not None
    table.delete("start_time >= '2026-11-02T00:00:00+00:00' and start_time < '2026-11-03T00:00:00+00:00'")
    assert landed_window(table, DAYS) is None
