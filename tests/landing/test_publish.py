"""Publishing to object storage: progress, and what an upload's error says."""

from __future__ import annotations

import errno
import logging
import time
from datetime import date

import fsspec
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from botocore.exceptions import EndpointConnectionError
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.exceptions import CdrExportLandingError
from airflow_provider_flowroute.landing import publish
from tests.support import all_words_of

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach


attach("memory", fs=fsspec.filesystem("memory"))
PATH = ObjectStoragePath("memory://lake/day.csv")


def publish_file() -> None:
    with publish.staging_folder(PATH) as folder:
        (folder / "staged").write_bytes(b"x" * 3_000_000)
        publish.publish(folder / "staged", PATH)


def test_a_long_upload_logs_its_progress(monkeypatch, caplog):
    # With a clock that runs a million times as fast, because nothing here takes ten seconds.
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: time.perf_counter() * 1e6)})
    monkeypatch.setattr(publish, "time", clock)

    with caplog.at_level(logging.INFO):
        publish_file()

    lines = [line for line in caplog.messages if "Uploading" in line]
    assert lines[-1] == f"Uploading to {PATH}: 3.0 of 3.0 MB."


def test_a_staging_folder_is_beside_a_local_target_and_removed(tmp_path):
    path = ObjectStoragePath(f"{tmp_path}/lake/date={publish.DATE}/day.csv")

    def fail() -> None:
        with publish.staging_folder(path) as folder:
            assert folder.parent == tmp_path / "lake"
            assert folder.name.startswith(".day.csv.")
            (folder / "staged").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert list((tmp_path / "lake").iterdir()) == []


def test_a_local_file_gets_the_permissions_of_other_files(tmp_path):
    path = ObjectStoragePath(f"{tmp_path}/day.csv")

    with publish.staging_folder(path) as folder:
        (folder / "staged").write_bytes(b"new")
        (other := tmp_path / "other").write_bytes(b"")
        publish.publish(folder / "staged", path)

    assert (tmp_path / "day.csv").read_bytes() == b"new"
    assert (tmp_path / "day.csv").stat().st_mode == other.stat().st_mode


def test_the_path_of_a_day_and_the_folder_of_all_days():
    pattern = ObjectStoragePath("s3://aws_default@lake/cdrs/date={date}/{date}.parquet")

    assert str(publish.path_of(pattern, date(2026, 11, 1))) == (
        "s3://aws_default@lake/cdrs/date=2026-11-01/2026-11-01.parquet"
    )
    assert str(publish.folder_of(pattern)).rstrip("/") == "s3://aws_default@lake/cdrs"
    assert publish.folder_of(ObjectStoragePath("/lake/{date}.parquet")).path == "/lake"


def test_after_an_error_no_further_file_is_started():
    def fail_at_three(number: int) -> int:
        started.append(number)
        if number == 3:
            raise RuntimeError
        return number

    started: list[int] = []
    done = publish.in_parallel(PATH, fail_at_three, range(1000))

    assert [next(done) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError):
        next(done)
    assert started == [0, 1, 2, 3]


def test_a_copy_of_a_remote_file_is_local_and_removed():
    fsspec.filesystem("memory").pipe_file("/lake/day.csv", b"content")

    with publish.local_copy(PATH) as copy:
        assert copy.read_bytes() == b"content"
    assert not copy.exists()


def test_a_copy_that_fails_names_the_file(mocker):
    mocker.patch.object(MemoryFileSystem, "get_file", side_effect=PermissionError("Access Denied"))

    with (
        pytest.raises(CdrExportLandingError, match=f"^{PATH} cannot be read.\nPermissionError: Access"),
        publish.local_copy(PATH),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (PermissionError("Access Denied"), False),
        (FileNotFoundError("The specified bucket does not exist"), False),
        (ValueError("Bad Request"), False),
        (OSError("Forbidden: b/lake/o"), False),  # gcsfs, status 403
        (OSError(errno.EBUSY, "Please reduce your request rate."), True),
        (TimeoutError(), True),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), True),
    ],
    ids=repr,
)
def test_an_upload_error_tells_whether_a_retry_can_help(mocker, error, transient):
    mocker.patch.object(MemoryFileSystem, "put_file", side_effect=error)

    with pytest.raises(CdrExportLandingError) as caught:
        publish_file()

    assert caught.value.transient is transient
    assert str(caught.value) == f"{type(error).__name__}: {error}"


def test_an_upload_error_does_not_show_the_upload_session(mocker):
    error = FileNotFoundError("http://host/upload/b/lake/o?uploadType=resumable&upload_id=the-session")
    mocker.patch.object(MemoryFileSystem, "put_file", side_effect=error)

    with pytest.raises(CdrExportLandingError) as caught:
        publish_file()

    assert "the-session" not in all_words_of(caught.value)
    assert str(caught.value) == "FileNotFoundError: http://host/upload/b/lake/o?<redacted>"
