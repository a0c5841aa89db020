"""Publishing to object storage: progress, and what an upload's error says."""

from __future__ import annotations

import errno
import logging
import time

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
    with publish.publish_atomically(PATH) as staged:
        staged.write_bytes(b"x" * 3_000_000)


def test_a_long_upload_logs_its_progress(monkeypatch, caplog):
    # With a clock that runs a million times as fast, because nothing here takes ten seconds.
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: time.perf_counter() * 1e6)})
    monkeypatch.setattr(publish, "time", clock)

    with caplog.at_level(logging.INFO):
        publish_file()

    lines = [line for line in caplog.messages if "Uploading" in line]
    assert lines[-1] == f"Uploading to {PATH}: 3.0 of 3.0 MB."


def test_a_file_is_not_uploaded_if_its_block_raises():
    def fail() -> None:
        with publish.publish_atomically(ObjectStoragePath("memory://lake/never.csv")) as staged:
            staged.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert not fsspec.filesystem("memory").exists("/lake/never.csv")


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
