"""Uploads say how far they are."""

from __future__ import annotations

import logging
import time
from typing import Any

import fsspec
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_flowroute.landing import publish

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach


def test_a_long_upload_says_from_time_to_time_how_far_it_is(monkeypatch, caplog):
    attach("memory", fs=fsspec.filesystem("memory"))
    # Of a clock that runs a million times as fast, for nothing here takes ten seconds.
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: time.perf_counter() * 1e6)})
    monkeypatch.setattr(publish, "time", clock)

    path = ObjectStoragePath("memory://lake/day.csv")
    with caplog.at_level(logging.INFO), publish.publish_atomically(path) as staged:
        staged.write_bytes(b"x" * 3_000_000)

    lines = [line for line in caplog.messages if "Uploading" in line]
    assert lines[-1] == f"Uploading to {path}: 3.0 of 3.0 MB."


def test_what_fails_before_the_end_is_not_uploaded(caplog):
    def fail(path: Any) -> None:
        with publish.publish_atomically(ObjectStoragePath("memory://lake/never.csv")) as staged:
            staged.write_bytes(b"half")
            raise RuntimeError

    attach("memory", fs=fsspec.filesystem("memory"))
    with pytest.raises(RuntimeError):
        fail("never")

    assert not fsspec.filesystem("memory").exists("/lake/never.csv")
