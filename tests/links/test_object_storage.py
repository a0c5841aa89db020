"""The URL of a landed file in its cloud console; tests/airflow reads the link as the UI does."""

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
        (
            "gs://google@lake/cdrs/date={date}/cdrs.parquet",
            "https://console.cloud.google.com/storage/browser/lake/cdrs",
        ),
        (
            "s3://aws_default@lake/my cdrs/date={date}/cdrs.parquet",
            "https://console.aws.amazon.com/s3/buckets/lake?prefix=my%20cdrs/",
        ),
        ("abfs://lake/day.csv", ""),
        ("file:///lake/day.csv", ""),
        ("/lake/day.csv", ""),
    ],
)
def test_link_is_the_files_url_in_its_cloud_console(path: str, url: str):
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
def test_s3_link_uses_the_console_of_the_connections_region(
    extra: dict[str, Any], console: str, monkeypatch: pytest.MonkeyPatch
):
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    name = "amazon" + "".join(
        filter(str.isalnum, *extra.values())
    )  # unique, because Airflow caches the stores
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    url = console_url(ObjectStoragePath(f"s3://{name}@lake/day=1/a b&c.csv"))

    assert url == f"https://{console}/s3/object/lake?prefix=day%3D1/a%20b%26c.csv"


def test_s3_compatible_store_has_no_link(monkeypatch: pytest.MonkeyPatch):
    connection = {"conn_type": "aws", "login": "key", "extra": {"endpoint_url": "https://minio.example:9000"}}
    monkeypatch.setenv("AIRFLOW_CONN_MINIO", json.dumps({**connection, "password": "secret"}))

    assert console_url(ObjectStoragePath("s3://minio@lake/day.csv")) == ""


def test_s3_store_without_a_region_uses_the_default_console():
    attach("s3", "plain", fs=MemoryFileSystem())

    assert console_url(ObjectStoragePath("s3://plain@lake/day.csv")).startswith(
        "https://console.aws.amazon.com/"
    )
