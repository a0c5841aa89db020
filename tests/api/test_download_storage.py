"""A storage that answers otherwise than S3 should, and exports that have no file there."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

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
from tests.support import Answer, a_closed_port, assert_untouched, serving

pytestmark = pytest.mark.usefixtures("pauses")


def test_an_export_that_is_gone_when_a_fresh_link_is_asked_for_says_so(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path
):
    flowroute.reset()
    with (
        serving(lambda answer: answer.send(403)) as storage,
        pytest.raises(FlowrouteNotFoundError, match=export.id),
    ):
        client.download_cdr_export(replace(export, download_url=storage.url), target)
    assert_untouched(target)


@pytest.mark.parametrize(
    ("status", "error"),
    [("processing", CdrExportNotCompletedError), ("failed", CdrExportFailedError)],
)
def test_an_export_without_a_file_is_not_downloaded(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    target: Path,
    status: str,
    error: type[FlowrouteError],
):
    export = CdrExport.from_resource(
        {"id": "1", "attributes": {"status": status, "download_url": "https://x"}}
    )

    with pytest.raises(error):
        client.download_cdr_export(export, target)
    assert flowroute.requests == []
    assert_untouched(target)


def test_a_completed_export_without_a_link_says_so(client: FlowrouteClient, export: CdrExport, target: Path):
    with pytest.raises(CdrExportDownloadError, match=f"{export.id} is completed, but .* no link") as caught:
        client.download_cdr_export(replace(export, download_url=None), target)
    assert not caught.value.transient
    assert_untouched(target)


@pytest.mark.parametrize(
    ("status", "transient"),
    [(302, False), (307, False), (400, False), (404, False), (416, True), (500, True)],
)
def test_another_answer_of_the_storage_is_an_error_and_no_redirect_is_followed(
    client: FlowrouteClient, export: CdrExport, target: Path, status: int, transient: bool
):
    with (
        serving(lambda answer: answer.send(200, b"elsewhere")) as elsewhere,
        serving(lambda answer: answer.send(status, Location=elsewhere.url)) as storage,
        pytest.raises(CdrExportDownloadError, match=f"the storage answered {status}") as caught,
    ):
        client.download_cdr_export(replace(export, download_url=storage.url), target)

    assert caught.value.transient == transient
    assert elsewhere.requests == []
    assert_untouched(target)


def test_a_storage_that_is_not_there_is_a_passing_error(
    client: FlowrouteClient, export: CdrExport, target: Path
):
    gone = replace(export, download_url=f"http://127.0.0.1:{a_closed_port()}/file.gz")

    with pytest.raises(FlowrouteUnreachableError, match=r"Downloading.*refused") as caught:
        client.download_cdr_export(gone, target)
    assert caught.value.transient
    assert_untouched(target)


def begun(request: Answer) -> None:
    """The first 4 bytes of 10, then a cut."""
    request.send(200, b"0123", Content_Length="10", ETag='"one"')
    request.hang_up()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, b"0123456789", {}), id="the whole file again"),
        pytest.param((206, b"56789", {"Content_Range": "bytes 5-9/10"}), id="from another byte"),
        pytest.param((206, b"456789", {}), id="from it does not say where"),
    ],
)
def test_a_storage_that_does_not_go_on_with_the_same_file_is_never_patched_together(
    client: FlowrouteClient, export: CdrExport, target: Path, answer: tuple[int, bytes, dict[str, str]]
):
    status, body, headers = answer

    def go_on(request: Answer) -> None:
        request.send(status, body, **headers) if "Range" in request.headers else begun(request)

    with (
        serving(go_on) as storage,
        pytest.raises(CdrExportDownloadError, match=f"cut at byte 4.*answered {status}") as caught,
    ):
        client.download_cdr_export(replace(export, download_url=storage.url), target)

    assert caught.value.transient
    assert storage.headers[1]["range"] == "bytes=4-"
    assert storage.headers[1]["if-range"] == '"one"'
    assert_untouched(target)


def test_the_stored_bytes_come_as_they_are_even_where_they_are_called_an_encoding(
    client: FlowrouteClient, export: CdrExport, target: Path
):
    stored = gzip.compress(b"header\nrow\n")
    with serving(lambda answer: answer.send(200, stored, Content_Encoding="gzip")) as storage:
        client.download_cdr_export(replace(export, download_url=storage.url), target)

    assert target.read_bytes() == stored
    assert storage.headers[0]["accept-encoding"] == "identity"


def test_a_body_that_ends_in_good_order_but_too_early_is_gone_on_with(
    client: FlowrouteClient, export: CdrExport, target: Path
):
    def answer(request: Answer) -> None:
        if "Range" in request.headers:
            request.send(206, b"456789", Content_Range="bytes 4-9/10")
        else:
            request.send(200, b"4\r\n0123\r\n0\r\n\r\n", Content_Length="10", Transfer_Encoding="chunked")

    with serving(answer) as storage:
        client.download_cdr_export(replace(export, download_url=storage.url), target)

    assert target.read_bytes() == b"0123456789"


def test_reading_nothing_is_no_cut(flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport):
    with client.open_cdr_export(export) as download:
        assert download.read(0) == b""
        assert gzip.decompress(download.read()) == flowroute.csv(export.id)

    assert sum(request.on == "download" for request in flowroute.requests) == 1
