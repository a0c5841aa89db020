"""Fetching an export's file: whole, however often it is cut, and never half in place of an old one."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
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
from airflow_provider_flowroute.landing.csv_stream import inflate
from airflow_provider_flowroute.simulator import FlowrouteSimulator, RecordedRequest
from tests.support import assert_untouched, client_of

pytestmark = pytest.mark.usefixtures("pauses")


def downloads(flowroute: FlowrouteSimulator) -> list[RecordedRequest]:
    return [request for request in flowroute.requests if request.on == "download"]


def ranges(flowroute: FlowrouteSimulator) -> list[str | None]:
    return [request.headers.get("range") for request in downloads(flowroute)]


@pytest.mark.parametrize("as_given", [str, Path])
def test_a_file_is_fetched_whole_and_replaces_the_old_one(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    export: CdrExport,
    target: Path,
    as_given: Callable[..., Any],
):
    written = client.download_cdr_export(export, as_given(target))

    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)
    assert written == target.stat().st_size
    assert list(target.parent.iterdir()) == [target]
    assert [request.status for request in downloads(flowroute)] == [200]
    assert ranges(flowroute) == [None]


def test_a_file_can_go_into_an_open_one(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    file = io.BytesIO(b"before ")
    file.seek(7)

    written = client.download_cdr_export(export, file)

    assert file.getvalue()[:7] == b"before "
    assert gzip.decompress(file.getvalue()[7:]) == flowroute.csv(export.id)
    assert written == len(file.getvalue()) - 7


def test_a_file_can_be_read_as_a_stream(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport
):
    with client.open_cdr_export(export) as download:
        assert download.readable()
        assert not download.writable()
        content = b"".join(inflate(download))
        assert download.total == download.position

    assert content == flowroute.csv(export.id)
    assert download.closed


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_a_cut_file_is_gone_on_with_where_it_was_cut_and_comes_out_the_same(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path, cuts: int
):
    client.download_cdr_export(export, target)
    whole = target.read_bytes()
    flowroute.add_fault("cut_download", times=cuts, after_bytes=500)

    assert client.download_cdr_export(export, target) == len(whole)

    assert target.read_bytes() == whole
    assert ranges(flowroute)[1:] == [None] + [f"bytes={500 * cut}-" for cut in range(1, cuts + 1)]
    assert [request.status for request in downloads(flowroute)[1:]] == [200] + [206] * cuts


def test_a_file_may_be_cut_more_often_than_there_are_retries_as_long_as_bytes_come(
    flowroute: FlowrouteSimulator, export: CdrExport, target: Path
):
    flowroute.add_fault("cut_download", times=None, after_bytes=1000)

    client_of(flowroute, retries=1).download_cdr_export(export, target)

    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)
    assert len(downloads(flowroute)) > 5


def test_a_file_of_which_nothing_more_comes_is_given_up_after_as_many_tries_as_there_are_retries(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    export: CdrExport,
    target: Path,
    pauses: list[float],
):
    flowroute.add_fault("cut_download", after_bytes=100)
    flowroute.add_fault("cut_download", times=None, after_bytes=0)

    with pytest.raises(
        FlowrouteUnreachableError, match=rf"CDR export {export.id}: cut at byte 100 of \d+"
    ) as caught:
        client.download_cdr_export(export, target)

    assert caught.value.transient
    assert_untouched(target)
    assert ranges(flowroute) == [None, *["bytes=100-"] * 3]
    assert pauses == [0, 1, 2]


def test_a_file_cut_before_its_first_byte_is_begun_again(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path
):
    flowroute.add_fault("cut_download", after_bytes=0)

    client.download_cdr_export(export, target)

    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)
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
def test_a_storage_that_fails_for_a_moment_is_asked_again(
    flowroute: FlowrouteSimulator, export: CdrExport, target: Path, fault: str, options: Any
):
    flowroute.add_fault(fault, on="download", **options)

    client_of(flowroute, read_timeout=0.3).download_cdr_export(export, target)

    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)
    assert len(downloads(flowroute)) == 2


@pytest.mark.parametrize(
    ("fault", "options", "error", "words"),
    [
        ("dropped_connection", {}, FlowrouteUnreachableError, "no answer"),
        ("server_error", {"status": 503}, CdrExportDownloadError, "storage answered 503"),
        ("rate_limit", {}, CdrExportDownloadError, "storage answered 429"),
    ],
)
def test_a_storage_that_goes_on_failing_is_a_passing_error_and_the_old_file_stays(
    flowroute: FlowrouteSimulator,
    client: FlowrouteClient,
    export: CdrExport,
    target: Path,
    fault: str,
    options: Any,
    error: type[FlowrouteError],
    words: str,
):
    flowroute.add_fault(fault, on="download", times=None, **options)

    with pytest.raises(error, match=f"Downloading CDR export {export.id}: .*{words}") as caught:
        client.download_cdr_export(export, target)
    assert caught.value.transient
    assert_untouched(target)


def test_a_refused_link_is_replaced_by_a_fresh_one(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path
):
    flowroute.add_fault("expired_link")

    client.download_cdr_export(export, target)

    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)
    first, second = downloads(flowroute)
    assert (first.status, second.status) == (403, 200)
    assert first.query["X-Amz-Signature"] != second.query["X-Amz-Signature"]


def test_a_link_that_is_refused_midway_is_replaced_and_the_file_gone_on_with(
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


def test_a_fresh_link_that_is_refused_too_is_an_error_that_no_retry_mends(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path
):
    flowroute.add_fault("expired_link", times=2)

    with pytest.raises(
        CdrExportDownloadError, match=r"refuses its link \(403\), also a fresh one.*clear"
    ) as caught:
        client.download_cdr_export(export, target)

    assert not caught.value.transient
    assert str(export.expires_at) in str(caught.value)
    assert len(downloads(flowroute)) == 2
    assert sum(request.on == "status" for request in flowroute.requests) == 2
    assert_untouched(target)


def test_a_file_without_an_announced_length_is_fetched_whole(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, target: Path
):
    flowroute.add_fault("no_content_length", fraction=None)

    client.download_cdr_export(export, target)
    assert gzip.decompress(target.read_bytes()) == flowroute.csv(export.id)


@pytest.mark.parametrize(
    ("fault", "options"),
    [("no_content_length", {"fraction": 0.5}), ("no_content_length", {"fraction": 0.0}),
     ("truncated_gzip", {"fraction": 0.0}), ("truncated_gzip", {}), ("corrupt_gzip", {})],
)  # fmt: skip
def test_what_the_storage_calls_whole_and_is_not_is_found_out_when_it_is_inflated(
    flowroute: FlowrouteSimulator, client: FlowrouteClient, export: CdrExport, fault: str, options: Any
):
    flowroute.add_fault(fault, **options)

    with (
        client.open_cdr_export(export) as download,
        pytest.raises(CdrExportIntegrityError, match="the gzip stream is not whole"),
    ):
        list(inflate(download))
