from __future__ import annotations

import csv
import gzip
import io
import os
import stat

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportIntegrityError,
    CdrExportNotCompletedError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

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


def new_export():
    return CreateCdrExportOperator(task_id="create", **WEEK).execute({})


def land(export_id, path, **options):
    return CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path=path, **options
    ).execute({})


def rows_of(content: bytes) -> int:
    return len(list(csv.reader(io.StringIO(content.decode(), newline="")))) - 1


def test_csv_gz_keeps_flowroutes_very_bytes(account, tmp_path):
    export_id = new_export()
    target = tmp_path / "new" / "week.csv.gz"

    landed = land(export_id, str(target))

    content = gzip.decompress(target.read_bytes())
    assert content == account.csv(export_id)
    assert landed == {
        "path": str(target),
        "rows": rows_of(content),
        "bytes": target.stat().st_size,
        "export_id": export_id,
    }


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


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("truncated_gzip", {}, CdrExportIntegrityError),
        ("corrupt_gzip", {}, CdrExportIntegrityError),
        ("no_content_length", {"fraction": 0.5}, CdrExportIntegrityError),
        ("wrong_num_calls", {"delta": 1}, CdrExportIntegrityError),
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


def test_a_cut_download_goes_on_where_it_was(account, tmp_path):
    export_id = new_export()
    account.add_fault("cut_download", times=2)

    land(export_id, str(tmp_path / "week.csv"))

    assert (tmp_path / "week.csv").read_bytes() == account.csv(export_id)


def test_an_expired_link_is_replaced_by_a_fresh_one(account, tmp_path):
    export_id = new_export()
    account.add_fault("expired_link")

    assert land(export_id, str(tmp_path / "week.csv"))["rows"] > 0


def test_a_link_that_is_refused_twice_fails_without_retries_and_says_what_to_do(account, tmp_path):
    export_id = new_export()
    account.add_fault("expired_link", times=None)

    with pytest.raises(AirflowFailException, match="make a new export"):
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
