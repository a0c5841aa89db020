from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import os
import stat
from decimal import Decimal

import fsspec
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_flowroute.cdr.columns import parse_value
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportIntegrityError,
    CdrExportMismatchError,
    CdrExportNotCompletedError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
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
def told(caplog, capsys):
    """Gives the lines that the task logged: on Airflow 3 its logger prints them."""
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


def figures_of(content: bytes) -> dict[str, object]:
    """What the operator should return of a file, by the slow way."""
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    starts = sorted(f"{row['start_time'].replace(' ', 'T')}:00" for row in rows)
    seconds = sum(int(row["billed_duration"]) for row in rows)
    return {
        "rows": len(rows),
        "total_cost": f"{sum(Decimal(row['total_cost']) for row in rows):.8f}",
        "billed_minutes": f"{Decimal(seconds) / 60:.2f}",
        "first_start": starts[0],
        "last_start": starts[-1],
    }


def test_csv_gz_keeps_flowroutes_very_bytes(account, tmp_path):
    export_id = new_export()
    target = tmp_path / "new" / "week.csv.gz"

    landed = land(export_id, str(target))

    content = gzip.decompress(target.read_bytes())
    assert content == account.csv(export_id)
    assert landed == {
        **figures_of(content),
        "path": str(target),
        "bytes": target.stat().st_size,
        "export_id": export_id,
    }


def test_parquet_holds_the_same_rows_as_typed_columns(account, tmp_path):
    export_id = new_export()
    target = tmp_path / "week.parquet"

    landed = land(export_id, str(target))

    table = pq.read_table(target)
    content = account.csv(export_id)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    for name in table.column_names:
        values = ["" if value is None else value for value in table.column(name).to_pylist()]
        assert values == [parse_value(name, row[name]) if row[name] else "" for row in rows]
    assert landed == {
        **figures_of(content),
        "path": str(target),
        "bytes": target.stat().st_size,
        "export_id": export_id,
    }


@pytest.mark.parametrize("file_format", ["parquet", "csv", "csv.gz"])
def test_a_form_that_is_asked_for_does_not_depend_on_the_paths_suffix(account, tmp_path, file_format):
    land(new_export(), f"{tmp_path}/{file_format}", file_format="csv.gz")
    reference = gzip.decompress((tmp_path / file_format).read_bytes())
    land(account.exports[0].id, f"{tmp_path}/{file_format}", file_format=file_format)

    written = (tmp_path / file_format).read_bytes()
    unpacked = {
        "csv": lambda: written,
        "csv.gz": lambda: gzip.decompress(written),
        "parquet": lambda: pq.read_table(io.BytesIO(written)).num_rows,
    }[file_format]()
    assert unpacked == (rows_of(reference) if file_format == "parquet" else reference)


def test_the_log_tells_what_was_compared_and_what_came_of_it(account, tmp_path, told):
    landed = land(new_export(), str(tmp_path / "week.parquet"))

    compared, done = [line for line in told() if "of export" in line or "Landed" in line]
    assert f"{landed['rows']} rows (as expected); {landed['total_cost']} USD (as expected)" in compared
    assert "each cdr_id once (as expected)" in compared
    assert f"{landed['rows']} calls, {landed['billed_minutes']} billed minutes" in done
    assert str(tmp_path / "week.parquet") in done


MISMATCHES = [("wrong_num_calls", {"delta": 1}), ("wrong_total_cost", {"delta": "0.000002"})]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize(("fault", "options"), MISMATCHES)
def test_a_mismatch_is_landed_with_a_warning_where_that_is_asked_for(
    account, tmp_path, told, suffix, fault, options
):
    account.add_fault(fault, **options)

    landed = land(new_export(), str(tmp_path / f"week.{suffix}"), on_mismatch="warn")

    assert landed["rows"] == rows_of(account.csv(account.exports[0].id))
    [warning] = [line for line in told() if "although it has" in line]
    assert "but Flowroute" in warning
    assert "warning" in warning.lower()
    if suffix == "parquet":
        kept = json.loads(pq.read_metadata(tmp_path / "week.parquet").metadata[b"flowroute.reconciliation"])
        assert [check["agrees"] for check in kept.values()].count(False) == 1


def test_a_mismatch_says_what_the_file_has_and_what_flowroute_says(account, tmp_path):
    account.add_fault("wrong_total_cost", delta="0.010000")

    with pytest.raises(CdrExportMismatchError) as caught:
        land(new_export(), str(tmp_path / "week.parquet"))

    cost = account.exports[0].total_cost
    assert f"it has {cost:f} USD (but Flowroute's total_cost is {cost + Decimal('0.01'):.6f} USD)" in str(
        caught.value
    )
    assert f"{tmp_path / 'week.parquet'} was left as it was" in str(caught.value)


def test_on_mismatch_is_checked_when_the_dag_is_parsed():
    with pytest.raises(ValueError, match=r"on_mismatch is 'ignore': expected 'fail' or 'warn'"):
        CdrExportToObjectStorageOperator(task_id="land", export_id="1", path="x.csv", on_mismatch="ignore")


def test_what_flowroute_does_not_tell_is_warned_of_and_landed(tmp_path, monkeypatch, told):
    file = gzip.compress(b"direction,start_time,destination,callerid\nInbound,2019-06-25 01:00:00+00,1,2\n")
    with serving_export(file) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        landed = land("1", str(tmp_path / "day.csv"))

    assert (landed["rows"], landed["total_cost"], landed["billed_minutes"]) == (1, None, None)
    [warning] = [line for line in told() if "Reconciliation" in line]
    assert "1 row (not checked: Flowroute does not tell num_calls)" in warning
    assert "warning" in warning.lower()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"direction,start_time,destination\n", ["line 1: the header lacks callerid"]),
        (b"direction,start_time,destination,callerid\na,b\n", ["line 2: 2 fields instead of 4"]),
        (
            b"direction,start_time,destination,callerid\na,b,c,d\n",
            ["line 2, column start_time: 'b' is not a time"],
        ),
    ],
)
def test_a_file_of_another_form_fails_without_retries_and_says_where(
    tmp_path, monkeypatch, suffix, content, words
):
    target = tmp_path / f"day.{suffix}"
    target.write_text("old")
    with serving_export(gzip.compress(content), num_calls=1) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        with pytest.raises(AirflowFailException) as caught:
            land("1", str(target))

    assert all(word in str(caught.value) for word in [*words, "export 1", f"{target} was left as it was"])
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_csv_is_inflated(account, tmp_path):
    export_id = new_export()

    landed = land(export_id, f"file://{tmp_path}/week.csv")

    assert (tmp_path / "week.csv").read_bytes() == account.csv(export_id)
    assert landed["rows"] == rows_of(account.csv(export_id)) == account.exports[0].num_calls


def test_any_object_storage_takes_it(account, memory):
    export_id = new_export()
    path = ObjectStoragePath("memory://lake/week.csv.gz")

    landed = land(export_id, path)

    stored = memory.cat_file("/lake/week.csv.gz")
    assert gzip.decompress(stored) == account.csv(export_id)
    assert (landed["path"], landed["bytes"]) == (str(path), len(stored))


def test_others_can_read_the_landed_file(account, tmp_path):
    old = os.umask(0o022)
    try:
        land(new_export(), str(tmp_path / "week.csv"))
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "week.csv").stat().st_mode) == 0o644


def test_a_window_without_calls_lands_a_header(an_account, tmp_path):
    an_account(calls_per_day=0)

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
def test_whatever_goes_wrong_the_old_file_stays_and_nothing_else_is_left(
    account, tmp_path, suffix, fault, options, error
):
    target = tmp_path / f"week.{suffix}"
    target.write_text("old")
    account.add_fault(fault, times=None, **options)
    export_id = new_export()

    with pytest.raises(error):
        land(export_id, str(target))

    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_a_damaged_file_never_reaches_a_remote_store(account, memory):
    account.add_fault("truncated_gzip", times=None)

    with pytest.raises(CdrExportIntegrityError, match="was left as it was"):
        land(new_export(), "memory://lake/damaged.csv")

    assert not memory.exists("/lake/damaged.csv")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
def test_a_cut_download_goes_on_where_it_was(account, tmp_path, suffix):
    export_id = new_export()
    account.add_fault("cut_download", times=2)

    landed = land(export_id, str(tmp_path / f"week.{suffix}"))

    assert {name: landed[name] for name in figures_of(account.csv(export_id))} == figures_of(
        account.csv(export_id)
    )
    ranges = [request.headers.get("range") for request in account.requests if request.on == "download"]
    assert ranges[0] is None
    assert [each[:6] for each in ranges[1:]] == ["bytes=", "bytes="]


def test_an_expired_link_is_replaced_by_a_fresh_one(account, tmp_path):
    export_id = new_export()
    account.add_fault("expired_link")

    assert land(export_id, str(tmp_path / "week.csv"))["rows"] > 0


def test_a_link_that_is_refused_twice_fails_without_retries_and_says_what_to_do(account, tmp_path):
    export_id = new_export()
    account.add_fault("expired_link", times=None)

    with pytest.raises(AirflowFailException, match="create a new export"):
        land(export_id, str(tmp_path / "week.csv"))


def test_an_export_still_being_built_says_to_wait_first(an_account, tmp_path):
    an_account(processing_seconds=float("inf"))

    with pytest.raises(CdrExportNotCompletedError, match="CdrExportSensor"):
        land(new_export(), str(tmp_path / "week.csv"))


@pytest.mark.parametrize("path", ["week.parquetx", "", "None", "dir/", "dir/.csv"])
def test_a_path_that_names_no_file_form_is_refused(account, path):
    export_id = new_export()

    with pytest.raises(AirflowFailException, match=r"\.csv\.gz"):
        land(export_id, path)


def test_overwrite_false_leaves_what_is_there_and_downloads_nothing(account, tmp_path):
    target = tmp_path / "week.csv"
    target.write_text("old")
    export_id = new_export()

    with pytest.raises(AirflowFailException, match="overwrite"):
        land(export_id, str(target), overwrite=False)

    assert target.read_text() == "old"
    assert account.exports[0].downloads == 0


def test_a_path_whose_file_system_is_not_installed_says_what_to_install(account):
    with pytest.raises(AirflowFailException, match="Install the provider"):
        land(new_export(), "nowhere://bucket/week.csv")
