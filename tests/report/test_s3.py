"""Reports of files in S3, written to S3: Airflow's ObjectStoragePath on a server of the S3 API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_flowroute.exceptions import CdrExportLandingError, FlowrouteValueError
from airflow_provider_flowroute.report import write_report

from .conftest import Lake
from .lake import cost_of

try:
    from airflow.sdk.io import store
except ImportError:  # Airflow 2
    from airflow.io import store

MARCH = (date(2026, 3, 1), date(2026, 4, 1))
LAKE = "s3://aws_default@lake"


@pytest.fixture
def s3(march: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket with the day files of March."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Airflow caches the store of a connection, also from an earlier test.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    endpoint = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": endpoint}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    client = boto3.client("s3", **endpoint, aws_access_key_id="key", aws_secret_access_key="secret")
    client.create_bucket(Bucket="lake")
    for file in march.path.rglob("*.parquet"):
        client.upload_file(str(file), "lake", f"cdrs/{file.relative_to(march.path)}")
    yield client
    moto.stop()


def test_a_folder_in_s3_becomes_a_report_in_s3(s3: Any, march: Lake):
    data = write_report(f"{LAKE}/cdrs", f"{LAKE}/reports/march.html", *MARCH)

    assert data.incomplete_days == []
    assert (data.files, data.totals.cost) == (31, cost_of(march.rows))
    page = s3.get_object(Bucket="lake", Key="reports/march.html")["Body"].read().decode()
    assert f"exactly {data.totals.cost:,.8f}" in page


def test_local_files_and_files_in_s3_are_read_together(s3: Any, march: Lake, tmp_path: Path):
    write_report(f"{LAKE}/cdrs", f"{LAKE}/march.html", *MARCH)
    paths = [f"{LAKE}/cdrs/date=2026-03-0*/*", *sorted(march.path.glob("date=2026-03-[123]*/*"))]

    data = write_report(paths, tmp_path / "a.html", *MARCH, previous=f"{LAKE}/march.html")

    assert (data.files, data.totals.cost) == (31, cost_of(march.rows))
    assert "No day of both reports has other figures now." in (tmp_path / "a.html").read_text()


def test_an_object_that_does_not_exist_is_an_error(s3: Any, tmp_path: Path):
    for name in ("cdrs/date=2026-04-01/cdrs.parquet", "none", "cdrs/2026-*.parquet"):
        with pytest.raises(FlowrouteValueError, match="There is no landed file at"):
            write_report(f"{LAKE}/{name}", tmp_path / "a.html", *MARCH)


def test_a_missing_bucket_is_an_error_of_the_landing(s3: Any, march: Lake):
    with pytest.raises(CdrExportLandingError, match=r"NoSuchBucket|does not exist"):
        write_report(march.path, "s3://aws_default@none/march.html", *MARCH)
