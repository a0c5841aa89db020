"""No error, chained error or log record shows the secret key or the signature of a link."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.api.presigned_urls import redact_presigned_urls, redact_presigned_urls_in_logs
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import (
    PARAMETERS,
    SECRET_KEY,
    FakeClock,
    a_closed_port,
    all_words_of,
    client_at,
    client_of,
    read_file,
    serving,
)

SIGNATURE = "5ec2e75195a702e0"
SIGNED = f"/cdrs/1.gz?X-Amz-Algorithm=AWS4&X-Amz-Credential=ASIA&X-Amz-Signature={SIGNATURE}&X-Amz-Date=now"


class Records(logging.Handler):
    """Keep every log record, in each format in which it may be shown."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record) + repr(record.args) + repr(record.msg))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The records of all loggers, from DEBUG up."""
    records, root = Records(), logging.getLogger()
    level = root.level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    try:
        yield records.seen
    finally:
        root.removeHandler(records)
        root.setLevel(level)


def assert_silent(words: str, *secrets: str) -> None:
    for secret in (SECRET_KEY, SIGNATURE, "X-Amz-Signature", "X-Amz-Credential", *secrets):
        assert secret not in words


@pytest.fixture
def flowroute() -> Iterator[FlowrouteSimulator]:
    with FlowrouteSimulator(secret_key=SECRET_KEY) as simulator:
        yield simulator


def test_run_with_every_kind_of_fault_logs_no_secret(
    flowroute: FlowrouteSimulator, clock: FakeClock, logged: list[str]
):
    client = client_of(flowroute, clock=clock)
    for fault in ("rate_limit", "server_error", "dropped_connection"):
        for on in ("status", "list", "download"):
            flowroute.add_fault(fault, on=on)
    flowroute.add_fault("expired_link")
    flowroute.add_fault("cut_download", after_bytes=500, times=2)

    made = client.create_cdr_export(PARAMETERS)
    list(client.list_cdr_exports())
    read_file(client, client.get_cdr_export(made.id))

    signatures = {
        request.query["X-Amz-Signature"] for request in flowroute.requests if request.on == "download"
    }
    assert len(signatures) == 2
    words = "\n".join(logged)
    assert "GET /flowroute-cdrexports/" in words  # urllib3 logs at DEBUG
    assert "?<redacted>" in words
    assert "Resuming the download" in words
    assert_silent(words, *signatures)


@dataclass
class Trouble:
    """A storage that fails in one way."""

    url: str
    options: dict[str, Any]


@pytest.fixture(
    params=[
        "closed port",
        "drops",
        "refuses",
        "redirects",
        "fails",
        "unknown host",
        "forbidden host",
        "silent",
    ]
)
def trouble(request: pytest.FixtureRequest) -> Iterator[Trouble]:
    hangs_up = lambda answer: answer.hang_up()  # noqa: E731
    status = {"refuses": 403, "redirects": 302, "fails": 500}
    answer: Callable[[Any], None] = hangs_up
    if request.param in status:
        answer = lambda answer: answer.send(status[request.param], Location=SIGNED)  # noqa: E731
    with serving(answer) as server:
        url = server.url
        options: dict[str, Any] = {}
        if request.param == "closed port":
            url = f"http://127.0.0.1:{a_closed_port()}"
        elif request.param == "unknown host":
            url, options = (
                "https://storage.invalid",
                {"proxies": {"https": f"http://127.0.0.1:{a_closed_port()}"}},
            )
        elif request.param == "forbidden host":
            url = "https://evil.test"
        elif request.param == "silent":
            url, options = server.url.replace("http:", "https:"), {"read_timeout": 0.2}
        yield Trouble(url + SIGNED, options)


def fetch(client: FlowrouteClient, first: CdrExport, when_cut: Callable[[], None]) -> None:
    with client.open_cdr_export(first) as download:
        download.read(500)
        when_cut()
        download.read()


@pytest.mark.parametrize("begins_well", [False, True])
def test_download_errors_and_their_logs_show_no_secret(
    flowroute: FlowrouteSimulator,
    clock: FakeClock,
    trouble: Trouble,
    logged: list[str],
    begins_well: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    patient = client_of(flowroute)
    good = patient.get_cdr_export(patient.create_cdr_export(PARAMETERS).id)
    client = client_of(
        flowroute, clock=clock, retries=2, download_hosts=["storage.invalid"], **trouble.options
    )
    bad = replace(good, download_url=trouble.url)
    monkeypatch.setattr(client, "get_cdr_export", lambda export_id: bad)
    flowroute.add_fault("cut_download", after_bytes=500)

    with pytest.raises(FlowrouteError) as caught:
        fetch(client, good if begins_well else bad, lambda: flowroute.add_fault("expired_link"))

    signed = (good.download_url or "").partition("?")[2]
    assert_silent(all_words_of(caught.value), signed)
    assert_silent("\n".join(logged), signed)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert f"export {good.id}" in "\n".join(logged) + str(caught.value)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("unauthorized", {}),
        ("forbidden", {}),
        ("html_reply", {}),
        ("wrong_shape", {}),
        ("rate_limit", {}),
        ("server_error", {}),
        ("dropped_connection", {}),
        ("slow_reply", {"seconds": 30}),
    ],
)
@pytest.mark.parametrize("on", ["create", "status", "list"])
def test_api_errors_and_their_logs_show_no_secret(
    flowroute: FlowrouteSimulator, clock: FakeClock, logged: list[str], fault: str, options: Any, on: str
):
    client = client_of(flowroute, clock=clock, retries=1, read_timeout=0.1)
    flowroute.add_fault(fault, on=on, times=None, **options)
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: client.create_cdr_export(PARAMETERS),
        "status": lambda: client.get_cdr_export("38647"),
        "list": lambda: list(client.list_cdr_exports()),
    }

    with pytest.raises(FlowrouteError) as caught:
        calls[on]()

    assert_silent(all_words_of(caught.value))
    assert_silent("\n".join(logged))


def test_error_for_an_invalid_export_does_not_show_its_link():
    attributes = {
        "status": "completed",
        "download_url": f"https://s3.amazonaws.com{SIGNED}",
        "total_cost": "a lot",
    }
    with (
        serving(lambda answer: answer.send(200, {"data": {"id": 1, "attributes": attributes}})) as api,
        pytest.raises(FlowrouteError, match="not an amount") as caught,
    ):
        client_at(api.url).get_cdr_export("1")
    assert_silent(all_words_of(caught.value))


def test_client_and_export_do_not_show_their_secrets(client: FlowrouteClient, export: CdrExport):
    shown = f"{client!r} {client} {export!r} {export} {export.summary()}"

    assert_silent(shown, "X-Amz", "127.0.0.1")


def test_log_filter_is_installed_once_by_the_first_client():
    """Importing the client changes no logger."""
    code = """if True:
        import logging
        from airflow_provider_flowroute.api.client import FlowrouteClient
        loggers = [logging.getLogger(name) for name in ("urllib3.connectionpool", "urllib3.util.retry")]
        assert [len(logger.filters) for logger in loggers] == [0, 0]
        for _ in range(2):
            FlowrouteClient("key", "secret")
            assert [len(logger.filters) for logger in loggers] == [1, 1]
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (
            "400, PUT https://storage.googleapis.com/upload/b/lake/o?uploadType=resumable&upload_id=AB-x_9: gone",
            "400, PUT https://storage.googleapis.com/upload/b/lake/o?<redacted> gone",
        ),
        ("url='/upload/b/lake/o?upload_id=AB-x_9'", "url='/upload/b/lake/o?<redacted>'"),
        ("session upload_id=AB-x_9, part 3", "session upload_id=<redacted>, part 3"),
        ("{'upload_id': 'AB-x_9', 'part': 3}", "{'upload_id': '<redacted>', 'part': 3}"),
        ('{"UploadId": "AB-x_9"}', '{"UploadId": "<redacted>"}'),
        ("<UploadId>AB-x_9</UploadId>", "<UploadId><redacted></UploadId>"),
        ("s3://lake/cdrs.parquet?uploadId=AB-x_9&partNumber=3", "s3://lake/cdrs.parquet?<redacted>"),
        (f"a https://s3.amazonaws.com{SIGNED} b", "a https://s3.amazonaws.com/cdrs/1.gz?<redacted> b"),
        ("GET /v2/cdrs/exports?limit=200&offset=0", "GET /v2/cdrs/exports?limit=200&offset=0"),
        ("upload_identity=7 and an upload id", "upload_identity=7 and an upload id"),
    ],
)
def test_signatures_and_upload_session_ids_are_redacted(text: str, redacted: str):
    assert redact_presigned_urls(text) == redacted


@pytest.mark.parametrize(
    "message",
    [
        f'http://127.0.0.1:1 "GET {SIGNED} HTTP/1.1" 200 17',
        f"Retrying (Retry(total=2)) after connection broken by 'NewConnectionError()': {SIGNED}",
        f"Incremented Retry for (url='{SIGNED}'): Retry(total=1)",
        f"https://s3.amazonaws.com{SIGNED}",
        SIGNED.replace("X-Amz-", "x-amz-"),
        f"/cdrs/1.gz?AWSAccessKeyId=AKIA&Expires=1&Signature={SIGNATURE}",
        f"/cdrs/1.gz?X-Goog-Date=1&X-Goog-Signature={SIGNATURE}",
        f"/cdrs/1.gz?sv=2020&sig={SIGNATURE}",
    ],
)
@pytest.mark.parametrize("logger", ["urllib3.connectionpool", "urllib3.util.retry"])
def test_query_of_a_presigned_url_is_redacted_in_urllib3_logs(logged: list[str], logger: str, message: str):
    redact_presigned_urls_in_logs()

    logging.getLogger(logger).warning("%s", message)

    (words,) = logged
    assert "/cdrs/1.gz?<redacted>" in words
    assert SIGNATURE not in words


def test_other_urllib3_log_records_are_unchanged(logged: list[str]):
    message = "GET /v2/cdrs/exports?limit=200&offset=0 HTTP/1.1"
    logging.getLogger("urllib3.connectionpool").debug('"%s" %d', message, 200)

    assert logged[0].startswith(f'"{message}" 200')
    assert repr((message, 200)) in logged[0]
