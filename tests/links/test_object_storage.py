"""Where the link of a landing leads; tests/airflow asks for it as the web interface does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.links.object_storage import console_url

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (
            "gs://google@lake/a b.csv",
            "https://console.cloud.google.com/storage/browser/_details/lake/a%20b.csv",
        ),
        ("abfs://lake/day.csv", ""),
        ("file:///lake/day.csv", ""),
        ("/lake/day.csv", ""),
    ],
)
def test_a_file_has_the_address_at_which_its_own_cloud_shows_it(path: str, url: str):
    assert console_url(ObjectStoragePath(path)) == url


@pytest.mark.parametrize(
    ("extra", "console"),
    [
        ({"region_name": ""}, "console.aws.amazon.com"),
        ({"region_name": "eu-central-1"}, "console.aws.amazon.com"),
        ({"region_name": "cn-north-1"}, "console.amazonaws.cn"),
        ({"region_name": "us-gov-west-1"}, "console.amazonaws-us-gov.com"),
        ({"endpoint_url": "https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com"}, "console.aws.amazon.com"),
    ],
)
def test_an_object_is_shown_by_the_console_of_its_connections_region(
    extra: dict[str, Any], console: str, monkeypatch: pytest.MonkeyPatch
):
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    name = "amazon" + "".join(filter(str.isalnum, *extra.values()))  # its own: Airflow keeps the storages
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    url = console_url(ObjectStoragePath(f"s3://{name}@lake/day=1/a b&c.csv"))

    assert url == f"https://{console}/s3/object/lake?prefix=day%3D1/a%20b%26c.csv"


def test_another_storage_with_the_api_of_s3_has_no_console(monkeypatch: pytest.MonkeyPatch):
    connection = {"conn_type": "aws", "login": "key", "extra": {"endpoint_url": "https://minio.example:9000"}}
    monkeypatch.setenv("AIRFLOW_CONN_MINIO", json.dumps({**connection, "password": "secret"}))

    assert console_url(ObjectStoragePath("s3://minio@lake/day.csv")) == ""


def test_an_object_in_a_storage_that_tells_no_region_is_amazons():
    attach("s3", "plain", fs=MemoryFileSystem())

    assert console_url(ObjectStoragePath("s3://plain@lake/day.csv")).startswith(
        "https://console.aws.amazon.com/"
    )
