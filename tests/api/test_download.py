"""Download an export's complete file, however often the connection breaks."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportIntegrityError,
    FlowrouteError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.landing.csv_stream import CsvStream
from airflow_provider_flowroute.simulator import FlowrouteSimulator, RecordedRequest
from tests.support import FakeClock, client_of, read_file


def downloads(flowroute: FlowrouteSimulator) -> list[RecordedRequest]:
    return [request for request in flowroute.requests if request.on == "download"]


def ranges(flowroute: FlowrouteSimulator) -> list[str | None]:
    return [request.headers.get("range") for request in downloads(flowroute)]


def test_complete_file_is_downloaded(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    assert gzip.decompress(read_file(client, export)) == flowroute.csv(export.id)
    assert [request.status for request in downloads(flowroute)] == [200]
    assert ranges(flowroute) == [None]


def test_download_is_copied_to_an_open_file(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    file = io.BytesIO(b"before ")
    file.seek(7)

    with client.open_cdr_export(export) as download:
        written = download.copy_to(file)

    assert file.getvalue()[:7] == b"before "
    assert gzip.decompress(file.getvalue()[7:]) == flowroute.csv(export.id)
    assert written == len(file.getvalue()) - 7


def test_download_is_a_readable_stream(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    with client.open_cdr_export(export) as download:
        assert download.readable()
        assert not download.writable()
        content = CsvStream(download).read()
        assert download.total == download.position

    assert content == flowroute.csv(export.id)
    assert download.closed


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_broken_download_resumes_and_gives_the_same_file(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, cuts: int
):
    complete = read_file(client, export)
    flowroute.add_fault("cut_download", times=cuts, after_bytes=500)

    assert read_file(client, export) == complete

    assert ranges(flowroute)[1:] == [None] + [f"bytes={500 * cut}-" for cut in range(1, cuts + 1)]
    assert [request.status for request in downloads(flowroute)[1:]] == [200] + [206] * cuts


def test_only_breaks_without_new_bytes_count_as_retries(
    flowroute: FlowrouteSimulator, clock: FakeClock, export: CdrExport
):
    flowroute.add_fault("cut_download", times=None, after_bytes=1000)

    content = read_file(client_of(flowroute, retries=1, clock=clock), export)

    assert gzip.decompress(content) == flowroute.csv(export.id)
    assert len(downloads(flowroute)) > 5


def test_download_without_new_bytes_fails_after_the_retries(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    export: CdrExport,
    clock: FakeClock,
):
    flowroute.add_fault("cut_download", after_bytes=100)
    flowroute.add_fault("cut_download", times=None, after_bytes=0)

    with pytest.raises(
        FlowrouteUnreachableError, match=rf"(?s)CDR export {export.id}: .*Received 100 of \d+ bytes"
    ) as caught:
        read_file(client, export)

    assert caught.value.transient
    assert ranges(flowroute) == [None, *["bytes=100-"] * 3]
    assert clock.delays == [0, 1, 2]


def test_download_cut_before_the_first_byte_starts_again(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.add_fault("cut_download", after_bytes=0)

    content = read_file(client, export)

    assert gzip.decompress(content) == flowroute.csv(export.id)
    assert ranges(flowroute) == [None, None]


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("dropped_connection", {}),
        ("slow_reply", {"seconds": 30}),
        ("rate_limit", {"retry_after": 1}),
        ("server_error", {"status": 503}),
    ],
)
def test_download_is_retried_after_a_transient_storage_error(
    flowroute: FlowrouteSimulator, clock: FakeClock, export: CdrExport, fault: str, options: Any
):
    flowroute.add_fault(fault, on="download", **options)

    content = read_file(client_of(flowroute, read_timeout=0.3, clock=clock), export)

    assert gzip.decompress(content) == flowroute.csv(export.id)
    assert len(downloads(flowroute)) == 2


@pytest.mark.parametrize(
    ("fault", "options", "error", "words"),
    [
        ("dropped_connection", {}, FlowrouteUnreachableError, "no answer"),
        ("server_error", {"status": 503}, CdrExportDownloadError, "storage answered 503"),
        ("rate_limit", {}, CdrExportDownloadError, "storage answered 429"),
    ],
)
def test_storage_that_keeps_failing_is_a_transient_error(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    export: CdrExport,
    fault: str,
    options: Any,
    error: type[FlowrouteError],
    words: str,
):
    flowroute.add_fault(fault, on="download", times=None, **options)

    with pytest.raises(error, match=f"Downloading CDR export {export.id}: .*{words}") as caught:
        read_file(client, export)
    assert caught.value.transient


def test_rejected_link_is_replaced_by_a_new_one(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.add_fault("expired_link")

    content = read_file(client, export)

    assert gzip.decompress(content) == flowroute.csv(export.id)
    first, second = downloads(flowroute)
    assert (first.status, second.status) == (403, 200)
    assert first.query["X-Amz-Signature"] != second.query["X-Amz-Signature"]


def test_link_rejected_midway_is_replaced_and_the_download_resumes(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.add_fault("cut_download", after_bytes=500)
    with client.open_cdr_export(export) as download:
        content = download.read(500)
        flowroute.add_fault("expired_link")
        content += download.read()

    assert gzip.decompress(content) == flowroute.csv(export.id)
    assert ranges(flowroute) == [None, "bytes=500-", "bytes=500-"]
    assert [request.status for request in downloads(flowroute)] == [200, 403, 206]


def test_second_rejected_link_is_a_permanent_error(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.add_fault("expired_link", times=2)

    with pytest.raises(
        CdrExportDownloadError, match=r"(?s)rejects its link \(403\).*a new link too.*clear"
    ) as caught:
        read_file(client, export)

    assert not caught.value.transient
    assert str(export.expires_at) in str(caught.value)
    assert len(downloads(flowroute)) == 2
    assert sum(request.on == "status" for request in flowroute.requests) == 2


def test_file_without_content_length_is_downloaded(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    flowroute.add_fault("no_content_length", fraction=None)

    content = read_file(client, export)
    assert gzip.decompress(content) == flowroute.csv(export.id)


@pytest.mark.parametrize(
    ("fault", "options"),
    [("no_content_length", {"fraction": 0.5}), ("no_content_length", {"fraction": 0.0}),
     ("truncated_gzip", {"fraction": 0.0}), ("truncated_gzip", {}), ("corrupt_gzip", {})],
)  # fmt: skip
def test_damaged_file_is_detected_when_it_is_decompressed(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, fault: str, options: Any
):
    flowroute.add_fault(fault, **options)

    with (
        client.open_cdr_export(export) as download,
        pytest.raises(CdrExportIntegrityError, match="The gzip stream is incomplete"),
    ):
        CsvStream(download).drain()
