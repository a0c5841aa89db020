"""Storage answers that differ from S3's, and exports that have no file."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportFailedError,
    CdrExportNotCompletedError,
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import Answer, a_closed_port, read_file, serving


def test_export_missing_at_a_link_request_is_reported(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.reset()
    with (
        serving(lambda answer: answer.send(403)) as storage,
        pytest.raises(FlowrouteNotFoundError, match=export.id),
    ):
        read_file(client, replace(export, download_url=storage.url))


@pytest.mark.parametrize(
    ("status", "error"),
    [("processing", CdrExportNotCompletedError), ("failed", CdrExportFailedError)],
)
def test_export_without_a_file_is_not_downloaded(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    status: str,
    error: type[FlowrouteError],
):
    export = CdrExport.from_resource(
        {"id": "1", "attributes": {"status": status, "download_url": "https://x"}}
    )

    with pytest.raises(error):
        read_file(client, export)
    assert flowroute.requests == []


def test_completed_export_without_a_link_is_a_permanent_error(client: FlowrouteClient, export: CdrExport):
    with pytest.raises(CdrExportDownloadError, match=f"{export.id} is completed, but .* no link") as caught:
        read_file(client, replace(export, download_url=None))
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("status", "transient"),
    [(302, False), (307, False), (400, False), (404, False), (416, True), (500, True)],
)
def test_other_storage_answers_are_errors_and_redirects_too(
    client: FlowrouteClient, export: CdrExport, status: int, transient: bool
):
    with (
        serving(lambda answer: answer.send(200, b"elsewhere")) as elsewhere,
        serving(lambda answer: answer.send(status, Location=elsewhere.url)) as storage,
        pytest.raises(CdrExportDownloadError, match=f"the storage answered {status}") as caught,
    ):
        read_file(client, replace(export, download_url=storage.url))

    assert caught.value.transient == transient
    assert elsewhere.requests == []


def test_unreachable_storage_is_a_transient_error(client: FlowrouteClient, export: CdrExport):
    gone = replace(export, download_url=f"http://127.0.0.1:{a_closed_port()}/file.gz")

    with pytest.raises(FlowrouteUnreachableError, match=r"(?s)Downloading.*refused") as caught:
        read_file(client, gone)
    assert caught.value.transient


def send_first_bytes(request: Answer) -> None:
    """Send the first 4 bytes of 10, then close the connection."""
    request.send(200, b"0123", Content_Length="10", ETag='"one"')
    request.hang_up()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, b"0123456789", {}), id="the complete file again"),
        pytest.param((206, b"56789", {"Content_Range": "bytes 5-9/10"}), id="another start byte"),
        pytest.param((206, b"456789", {}), id="no start byte"),
    ],
)
def test_parts_of_two_files_are_never_joined(
    client: FlowrouteClient, export: CdrExport, answer: tuple[int, bytes, dict[str, str]]
):
    status, body, headers = answer

    def resume(request: Answer) -> None:
        request.send(status, body, **headers) if "Range" in request.headers else send_first_bytes(request)

    with (
        serving(resume) as storage,
        pytest.raises(
            CdrExportDownloadError, match=f"(?s)cannot resume at byte 4.*answered {status}"
        ) as caught,
    ):
        read_file(client, replace(export, download_url=storage.url))

    assert caught.value.transient
    assert storage.headers[1]["range"] == "bytes=4-"
    assert storage.headers[1]["if-range"] == '"one"'


def test_content_encoding_gzip_is_not_decoded(client: FlowrouteClient, export: CdrExport):
    stored = gzip.compress(b"header\nrow\n")
    with serving(lambda answer: answer.send(200, stored, Content_Encoding="gzip")) as storage:
        content = read_file(client, replace(export, download_url=storage.url))

    assert content == stored
    assert storage.headers[0]["accept-encoding"] == "identity"


def test_body_shorter_than_its_content_length_is_resumed(client: FlowrouteClient, export: CdrExport):
    def answer(request: Answer) -> None:
        if "Range" in request.headers:
            request.send(206, b"456789", Content_Range="bytes 4-9/10")
        else:
            request.send(200, b"4\r\n0123\r\n0\r\n\r\n", Content_Length="10", Transfer_Encoding="chunked")

    with serving(answer) as storage:
        assert read_file(client, replace(export, download_url=storage.url)) == b"0123456789"


def test_reading_zero_bytes_sends_no_request(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    with client.open_cdr_export(export) as download:
        assert download.read(0) == b""
        assert gzip.decompress(download.read()) == flowroute.csv(export.id)

    assert sum(request.on == "download" for request in flowroute.requests) == 1
