from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import os
import re
import stat
from decimal import Decimal
from unittest.mock import ANY

import fsspec
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_flowroute.cdr.columns import FEE_COLUMNS
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportIntegrityError,
    CdrExportMismatchError,
    CdrExportNotCompletedError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.landing.values import typed_value
from tests.support import connection_json, serving_export

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach

WEEK = {"start_call_start_time": "2026-11-01", "start_call_end_time": "2026-11-08"}


@pytest.fixture
def memory():
    """A store that is not the local disk."""
    store = fsspec.filesystem("memory")
    attach("memory", fs=store)
    return store


@pytest.fixture
def log_lines(caplog, capsys):
    """The lines that the task logged. On Airflow 3 its logger prints them."""
    caplog.set_level(logging.INFO)

    def lines():
        logged, printed = caplog.text, capsys.readouterr().out
        return (logged if "airflow.task" in logged else printed).splitlines()

    return lines


def new_export():
    return CreateCdrExportOperator(task_id="create", **WEEK).execute({})


def land(export_id, path, **options):
    return CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path=path, **options
    ).execute({})


def rows_of(content: bytes) -> int:
    return len(list(csv.reader(io.StringIO(content.decode(), newline="")))) - 1


def totals_of(content: bytes, fees: bool = False) -> dict[str, object]:
    """The totals that the operator returns, computed in a slow way.

    :param fees: whether it adds up the fees, as for Parquet.
    """
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    starts = sorted(f"{row['start_time'].replace(' ', 'T')}:00" for row in rows)
    seconds = sum(int(row["billed_duration"]) for row in rows)
    return {
        "rows": len(rows),
        "total_cost": f"{sum(Decimal(row['total_cost']) for row in rows):.8f}",
        "billed_minutes": f"{Decimal(seconds) / 60:.2f}",
        "first_start": starts[0],
        "last_start": starts[-1],
        "without_start": 0,
        "fees": {
            name: f"{sum(Decimal(row[column]) for row in rows):.8f}" for name, column in FEE_COLUMNS.items()
        }
        if fees
        else {},
    }


def test_csv_gz_keeps_flowroutes_bytes(flowroute, tmp_path):
    export_id = new_export()
    target = tmp_path / "new" / "week.csv.gz"

    landed = land(export_id, str(target))

    content = gzip.decompress(target.read_bytes())
    assert content == flowroute.csv(export_id)
    assert landed == {
        **totals_of(content),
        "path": str(target),
        "bytes": target.stat().st_size,
        "export_id": export_id,
        "reconciliation": ANY,
    }
    assert [check["passed"] for check in landed["reconciliation"].values()] == [True] * 4


def test_parquet_has_the_same_rows_as_typed_columns(flowroute, tmp_path):
    export_id = new_export()
    target = tmp_path / "week.parquet"

    landed = land(export_id, str(target))

    table = pq.read_table(target)
    content = flowroute.csv(export_id)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    for name in table.column_names:
        values = ["" if value is None else value for value in table.column(name).to_pylist()]
        assert values == [typed_value(name, row[name]) if row[name] else "" for row in rows]
    assert landed == {
        **totals_of(content, fees=True),
        "path": str(target),
        "bytes": target.stat().st_size,
        "export_id": export_id,
        "reconciliation": ANY,
    }
    assert [check["passed"] for check in landed["reconciliation"].values()] == [True] * 4


@pytest.mark.parametrize("file_format", ["parquet", "csv", "csv.gz"])
def test_a_given_format_does_not_depend_on_the_suffix(flowroute, tmp_path, file_format):
    land(new_export(), f"{tmp_path}/{file_format}", file_format="csv.gz")
    reference = gzip.decompress((tmp_path / file_format).read_bytes())
    land(flowroute.exports[0].id, f"{tmp_path}/{file_format}", file_format=file_format)

    written = (tmp_path / file_format).read_bytes()
    unpacked = {
        "csv": lambda: written,
        "csv.gz": lambda: gzip.decompress(written),
        "parquet": lambda: pq.read_table(io.BytesIO(written)).num_rows,
    }[file_format]()
    assert unpacked == (rows_of(reference) if file_format == "parquet" else reference)


def test_each_check_is_one_line_in_the_log(flowroute, tmp_path, log_lines):
    landed = land(new_export(), str(tmp_path / "week.parquet"))

    *checks, done = [line for line in log_lines() if "Check of export" in line or "Landed" in line]
    assert len(checks) == 4
    assert f"rows {landed['rows']}, expected {landed['rows']} (passed)" in checks[0]
    assert f"total_cost {landed['total_cost']}, expected " in checks[1]
    assert "cdr_id 0, expected 0 (passed)" in checks[3]
    assert f"{landed['rows']} calls, {landed['billed_minutes']} billed minutes" in done
    assert str(tmp_path / "week.parquet") in done


MISMATCHES = [("wrong_num_calls", {"delta": 1}), ("wrong_total_cost", {"delta": "0.000002"})]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize(("fault", "options"), MISMATCHES)
def test_on_mismatch_warn_lands_a_mismatch_with_a_warning(
    flowroute, tmp_path, log_lines, suffix, fault, options
):
    flowroute.add_fault(fault, **options)

    landed = land(new_export(), str(tmp_path / f"week.{suffix}"), on_mismatch="warn")

    assert landed["rows"] == rows_of(flowroute.csv(flowroute.exports[0].id))
    failed, published = [line for line in log_lines() if "(failed)" in line or "despite" in line]
    assert fault.removeprefix("wrong_") in failed.replace("rows", "num_calls")
    assert "on_mismatch is 'warn'" in published
    assert all("warning" in line.lower() for line in (failed, published))
    if suffix == "parquet":
        kept = json.loads(pq.read_metadata(tmp_path / "week.parquet").metadata[b"flowroute.reconciliation"])
        assert [check["passed"] for check in kept.values()].count(False) == 1


def test_a_mismatch_names_both_figures(flowroute, tmp_path):
    flowroute.add_fault("wrong_total_cost", delta="0.010000")

    with pytest.raises(CdrExportMismatchError) as caught:
        land(new_export(), str(tmp_path / "week.parquet"))

    cost = flowroute.exports[0].total_cost
    assert f"total_cost {cost:f}, expected {cost + Decimal('0.01'):.6f} (failed)" in str(caught.value)
    assert f"{tmp_path / 'week.parquet'} is unchanged" in str(caught.value)


def test_on_mismatch_is_checked_when_the_dag_is_parsed():
    with pytest.raises(AirflowFailException, match=r"on_mismatch is 'ignore'.\nUse 'fail' or 'warn'"):
        CdrExportToObjectStorageOperator(task_id="land", export_id="1", path="/x.csv", on_mismatch="ignore")


def test_an_omitted_figure_is_a_warning_and_the_file_lands(tmp_path, monkeypatch, log_lines):
    file = gzip.compress(b"direction,start_time,destination,callerid\nInbound,2019-06-25 01:00:00+00,1,2\n")
    with serving_export(file) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        landed = land("1", str(tmp_path / "day.csv"))

    assert (landed["rows"], landed["total_cost"], landed["billed_minutes"]) == (1, None, None)
    lines = log_lines()
    assert any(
        "rows 1, expected none (not checked: Flowroute did not report num_calls)" in line for line in lines
    )
    [warning] = [line for line in lines if "some checks were skipped" in line]
    assert "warning" in warning.lower()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"direction,start_time,destination\n", ["The header (line 1) lacks required columns: callerid"]),
        (b"direction,start_time,destination,callerid\na,b\n", ["Row 2: Expected 4 columns, got 2"]),
        (
            b"direction,start_time,destination,callerid\na,b,c,d\n",
            ["Row 2, column start_time: ", "'b'"],
        ),
    ],
)
def test_a_wrong_format_fails_without_retries_and_says_where(tmp_path, monkeypatch, suffix, content, words):
    target = tmp_path / f"day.{suffix}"
    target.write_text("old")
    with serving_export(gzip.compress(content), num_calls=1) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        with pytest.raises(AirflowFailException) as caught:
            land("1", str(target))

    assert all(word in str(caught.value) for word in [*words, "Export 1", f"{target} is unchanged"])
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_csv_is_inflated(flowroute, tmp_path):
    export_id = new_export()

    landed = land(export_id, f"file://{tmp_path}/week.csv")

    assert (tmp_path / "week.csv").read_bytes() == flowroute.csv(export_id)
    assert landed["rows"] == rows_of(flowroute.csv(export_id)) == flowroute.exports[0].num_calls


def test_any_object_storage_can_be_the_target(flowroute, memory):
    export_id = new_export()
    path = ObjectStoragePath("memory://lake/week.csv.gz")

    landed = land(export_id, path)

    stored = memory.cat_file("/lake/week.csv.gz")
    assert gzip.decompress(stored) == flowroute.csv(export_id)
    assert (landed["path"], landed["bytes"]) == (str(path), len(stored))


def test_others_can_read_the_landed_file(flowroute, tmp_path):
    old = os.umask(0o022)
    try:
        land(new_export(), str(tmp_path / "week.csv"))
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "week.csv").stat().st_mode) == 0o644


@pytest.mark.flowroute(calls_per_day=0)
def test_a_window_without_calls_lands_a_header(flowroute, tmp_path):
    landed = land(new_export(), str(tmp_path / "empty.csv"))

    assert landed["rows"] == 0
    assert (tmp_path / "empty.csv").read_text().startswith("direction,start_time,")
    assert (landed["total_cost"], landed["first_start"]) == ("0.00000000", None)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("truncated_gzip", {}, CdrExportIntegrityError),
        ("corrupt_gzip", {}, CdrExportIntegrityError),
        ("no_content_length", {"fraction": 0.5}, CdrExportIntegrityError),
        ("wrong_num_calls", {"delta": 1}, CdrExportMismatchError),
        ("wrong_num_calls", {"delta": -1}, CdrExportMismatchError),
        ("wrong_total_cost", {"delta": "0.000002"}, CdrExportMismatchError),
        ("server_error", {"on": "download", "status": 501}, CdrExportDownloadError),
    ],
)
def test_after_any_failure_the_old_file_is_unchanged(flowroute, tmp_path, suffix, fault, options, error):
    target = tmp_path / f"week.{suffix}"
    target.write_text("old")
    flowroute.add_fault(fault, times=None, **options)
    export_id = new_export()

    with pytest.raises(error):
        land(export_id, str(target))

    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_a_damaged_file_never_reaches_a_remote_store(flowroute, memory):
    flowroute.add_fault("truncated_gzip", times=None)

    with pytest.raises(CdrExportIntegrityError, match="is unchanged"):
        land(new_export(), "memory://lake/damaged.csv")

    assert not memory.exists("/lake/damaged.csv")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
def test_a_cut_download_resumes_at_its_position(flowroute, tmp_path, suffix):
    export_id = new_export()
    flowroute.add_fault("cut_download", times=2)

    landed = land(export_id, str(tmp_path / f"week.{suffix}"))

    totals = totals_of(flowroute.csv(export_id), fees=suffix == "parquet")
    assert {name: landed[name] for name in totals} == totals
    ranges = [request.headers.get("range") for request in flowroute.requests if request.on == "download"]
    assert ranges[0] is None
    assert [value[:6] for value in ranges[1:]] == ["bytes=", "bytes="]


def test_an_expired_link_is_replaced_by_a_fresh_one(flowroute, tmp_path):
    export_id = new_export()
    flowroute.add_fault("expired_link")

    assert land(export_id, str(tmp_path / "week.csv"))["rows"] > 0


def test_a_link_refused_twice_fails_without_retries(flowroute, tmp_path):
    export_id = new_export()
    flowroute.add_fault("expired_link", times=None)

    with pytest.raises(AirflowFailException, match="create a new export"):
        land(export_id, str(tmp_path / "week.csv"))


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_an_export_in_processing_is_an_error_that_says_to_wait(flowroute, tmp_path):
    with pytest.raises(CdrExportNotCompletedError, match="CdrExportSensor"):
        land(new_export(), str(tmp_path / "week.csv"))


UNUSABLE_PATHS = [
    "week.parquetx",
    "",
    "None",
    "dir/",
    "dir/.csv",
    "s3://lake/week",
    "~/week.parquet",
    "week.csv",
    "./week.csv",
]


@pytest.mark.parametrize("path", UNUSABLE_PATHS)
def test_an_unusable_path_is_refused_when_the_dag_is_parsed(path):
    with pytest.raises(AirflowFailException, match=r"path is .*\n"):
        CdrExportToObjectStorageOperator(task_id="land", export_id="1", path=path)


@pytest.mark.parametrize("path", UNUSABLE_PATHS)
def test_a_template_that_renders_to_an_unusable_path_is_refused(path):
    """Nothing is requested before."""
    task = CdrExportToObjectStorageOperator(task_id="land", export_id="1", path="{{ params.path }}")
    task.path = path

    with pytest.raises(AirflowFailException, match=r"path is .*\n"):
        task.execute({})


def test_an_unknown_file_format_is_refused_when_the_dag_is_parsed():
    with pytest.raises(AirflowFailException, match="file_format is 'xml'"):
        CdrExportToObjectStorageOperator(task_id="land", export_id="1", path="/x.csv", file_format="xml")


def test_a_file_of_another_window_is_replaced_with_a_warning(flowroute, tmp_path, log_lines):
    target = str(tmp_path / "cdrs.parquet")
    land(new_export(), target)
    other = {"start_call_start_time": "2026-11-02", "start_call_end_time": "2026-11-03"}
    export_id = CreateCdrExportOperator(task_id="create", **other).execute({})
    log_lines()

    land(export_id, target)

    [warning] = [line for line in log_lines() if "is replaced by the window" in line]
    assert "2026-11-01 00:00:00 .. 2026-11-08 00:00:00 UTC" in warning
    assert "2026-11-02 00:00:00 .. 2026-11-03 00:00:00 UTC" in warning


def test_a_file_of_the_same_window_is_replaced_without_a_warning(flowroute, tmp_path, log_lines):
    target = str(tmp_path / "cdrs.parquet")
    land(new_export(), target)
    land(new_export(), target)
    (tmp_path / "other.parquet").write_text("not Parquet")
    land(new_export(), str(tmp_path / "other.parquet"))

    assert [line for line in log_lines() if "is replaced by the window" in line] == []


def test_overwrite_false_keeps_the_file_and_downloads_nothing(flowroute, tmp_path):
    target = tmp_path / "week.csv"
    target.write_text("old")
    export_id = new_export()

    with pytest.raises(AirflowFailException, match="overwrite"):
        land(export_id, str(target), overwrite=False)

    assert target.read_text() == "old"
    assert flowroute.exports[0].downloads == 0


PACKAGES = {
    "gs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "nowhere": "the Airflow provider for nowhere://",
}


@pytest.mark.parametrize(("scheme", "package"), PACKAGES.items())
def test_a_path_without_a_file_system_names_the_package(flowroute, scheme, package):
    with pytest.raises(AirflowFailException, match=f"Install {re.escape(package)}"):
        land(new_export(), f"{scheme}://bucket/week.csv")
