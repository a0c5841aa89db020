"""CdrCompletenessCheckOperator, on day files in a local S3 server."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

try:
    from airflow.sdk.io import store
except ImportError:  # Airflow 2
    from airflow.io import store

START, END = "2024-01-01", "2024-04-01"
DAYS = 91


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A local S3 server with a bucket, and the connection to it."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Airflow caches the store of a connection, also from an earlier test.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    endpoint = {"endpoint_url": "http://{}:{}".format(*moto.get_host_and_port()), "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": endpoint}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    client = boto3.client("s3", **endpoint, aws_access_key_id="key", aws_secret_access_key="secret")
    client.create_bucket(Bucket="bucket")
    yield client
    moto.stop()


@pytest.mark.flowroute(calls_per_day=3)
def test_quarter_of_day_files_in_s3_is_checked(flowroute, s3):
    """One export lands the days. A file that was deleted from among them is missed."""
    export_id = CreateCdrExportOperator(
        task_id="create", start_call_start_time=START, start_call_end_time=END
    ).execute({})
    CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path="s3://lake@bucket/{date}.parquet", partition_by="day"
    ).execute({})
    check = CdrCompletenessCheckOperator(
        task_id="check", path="s3://lake@bucket/{date}.parquet", start=START, end=END, export_id=export_id
    )

    figures = check.execute({})

    assert len(figures["days"]) == DAYS
    assert figures["total"]["rows"] == flowroute.exports[0].num_calls
    s3.delete_object(Bucket="bucket", Key="2024-02-29.parquet")
    check.path = "s3://lake@bucket/*.parquet"
    with pytest.raises(Exception, match=r"(?m)^Missing: 2024-02-29\.$"):
        check.execute({})
