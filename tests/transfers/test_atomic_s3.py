"""Through s3fs and an S3 API, a reader sees the complete old object or the complete new one."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from airflow_provider_flowroute.landing import FORMATS
from tests.support import wait_until

from .conftest import OLD


class Between(BaseHTTPRequestHandler):
    """A proxy between the uploader and the storage that can refuse or hold requests."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.seen.append(f"{self.command} {self.path}")
        if server.refuse in self.path:
            status, answer, headers = 403, b"<Error><Code>AccessDenied</Code></Error>", {}
        else:
            if server.hold_at in self.path:
                server.held.set()
                server.go_on.wait(60)
            connection = http.client.HTTPConnection("127.0.0.1", server.storage)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            status, answer, headers = response.status, response.read(), dict(response.getheaders())
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length",
            headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer)),
        )
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Store:
    """A bucket called lake, with yesterday's file in it.

    :param between: what requests pass on their way to it.
    """

    def __init__(self, port: int, between: Any) -> None:
        self.between = between
        self._s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        self._s3.create_bucket(Bucket="lake")

    def put(self, key: str) -> None:
        self._s3.put_object(Bucket="lake", Key=key, Body=OLD)

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket="lake", Key=key)["Body"].read())

    def keys(self) -> list[str]:
        return [stored["Key"] for stored in self._s3.list_objects_v2(Bucket="lake").get("Contents", [])]

    def unfinished(self) -> int:
        return len(self._s3.list_multipart_uploads(Bucket="lake").get("Uploads", []))


@pytest.fixture
def store(monkeypatch) -> Iterator[Store]:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    requests.post(f"http://127.0.0.1:{port}/moto-api/reset", timeout=10)
    between: Any = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    between.daemon_threads = True
    between.storage, between.refuse, between.hold_at, between.seen = port, "(nothing)", "(nothing)", []
    between.held, between.go_on = threading.Event(), threading.Event()
    threading.Thread(target=between.serve_forever, args=(0.01,), daemon=True).start()
    extra = {"endpoint_url": f"http://127.0.0.1:{between.server_address[1]}", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    found = Store(port, between)
    yield found
    between.go_on.set()
    between.shutdown()
    between.server_close()
    moto.stop()


@pytest.mark.parametrize("suffix", FORMATS)
def test_s3_gets_the_complete_file_and_nothing_is_left(a_source, lander, store, suffix):
    account = a_source()
    store.put(f"cdrs/day.{suffix}")

    assert lander.land(path=f"s3://aws_default@lake/cdrs/day.{suffix}") == "landed"

    content = store.get(f"cdrs/day.{suffix}")
    if suffix == "parquet":
        assert content[:4] == content[-4:] == b"PAR1"
    else:
        assert (gzip.decompress(content) if suffix == "csv.gz" else content) == account.content
    assert store.keys() == [f"cdrs/day.{suffix}"]
    assert list(lander.temporary.iterdir()) == []


# Above 16 MB s3fs uploads in parts.
LARGE = {"rows": 20_000, "noise": 1024}


def test_a_large_file_is_uploaded_in_parts_and_appears_once(a_source, lander, store):
    account = a_source(**LARGE)
    store.put("day.csv")

    assert lander.land(path="s3://aws_default@lake/day.csv") == "landed"

    assert store.get("day.csv") == account.content
    assert len([line for line in store.between.seen if "partNumber=" in line]) == 3
    assert store.unfinished() == 0


def test_a_kill_in_an_upload_leaves_the_old_file_in_s3(a_source, lander, store):
    account = a_source(**LARGE)
    store.put("day.csv")
    store.between.hold_at = "partNumber=2"

    child = lander.start(path="s3://aws_default@lake/day.csv")
    wait_until(store.between.held.is_set, 60)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    assert (store.get("day.csv"), store.keys()) == (OLD, ["day.csv"])
    store.between.hold_at = "(nothing)"
    store.between.go_on.set()
    assert lander.land(path="s3://aws_default@lake/day.csv") == "landed"
    assert store.get("day.csv") == account.content


def test_a_kill_before_an_upload_completes_leaves_the_old_file(a_source, lander, store):
    a_source(**LARGE)
    store.put("day.csv")
    store.between.hold_at = "?uploadId="

    child = lander.start(path="s3://aws_default@lake/day.csv")
    wait_until(store.between.held.is_set, 60)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    assert (store.get("day.csv"), store.keys()) == (OLD, ["day.csv"])


@pytest.mark.parametrize(("size", "refuse"), [({}, "/lake/day.csv"), (LARGE, "partNumber=2")])
def test_a_refused_upload_leaves_the_old_file_and_nothing_else(a_source, lander, store, size, refuse):
    a_source(**size)
    store.put("day.csv")
    store.between.refuse = refuse

    outcome = lander.land(path="s3://aws_default@lake/day.csv")

    assert outcome.startswith(
        "CdrExportLandingError: Export 1 cannot be written to s3://aws_default@lake/day.csv"
    )
    assert (store.get("day.csv"), store.keys(), store.unfinished()) == (OLD, ["day.csv"], 0)
    assert list(lander.temporary.iterdir()) == []


def test_a_missing_bucket_is_named_in_the_error(a_source, lander, store):
    a_source()

    outcome = lander.land(path="s3://aws_default@swamp/day.csv")

    assert outcome.startswith("CdrExportLandingError")
    assert "bucket" in outcome
    assert "swamp" in outcome


def test_a_mismatch_never_reaches_s3(a_source, lander, store):
    account = a_source()
    account.rows += 1
    store.put("day.parquet")

    outcome = lander.land(path="s3://aws_default@lake/day.parquet")

    assert outcome.startswith("CdrExportMismatchError")
    assert [line for line in store.between.seen if line.startswith(("PUT", "POST"))] == []
    assert store.get("day.parquet") == OLD
    assert list(lander.temporary.iterdir()) == []
