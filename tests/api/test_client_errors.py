"""Errors between the client and the API, and their messages."""

from __future__ import annotations

import datetime
import email.utils
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.exceptions import (
    FlowrouteAPIError,
    FlowrouteAuthenticationError,
    FlowrouteConnectionConfigError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteRequestError,
    FlowrouteServerError,
    FlowrouteUnexpectedResponseError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import (
    PARAMETERS,
    SECRET_KEY,
    Answer,
    FakeClock,
    a_closed_port,
    client_at,
    client_of,
    serving,
)

CALLS: dict[str, Callable[[FlowrouteClient], Any]] = {
    "Creating a CDR export": lambda client: client.create_cdr_export(PARAMETERS),
    "Reading CDR export 38647": lambda client: client.get_cdr_export("38647"),
    "Listing CDR exports": lambda client: list(client.list_cdr_exports()),
}
ERROR = {
    "errors": [{"id": "f3a378a2", "status": 422, "title": "Wrong", "detail": "Invalid value: so and so."}]
}
STATUSES: list[tuple[int, type[FlowrouteAPIError], str]] = [
    (400, FlowrouteRequestError, "Change the request"),
    (401, FlowrouteAuthenticationError, "(?s)connection 'my_flowroute'.*expired.*Access Key.*Secret Key"),
    (403, FlowroutePermissionError, "connection 'my_flowroute'.*do not permit this"),
    (404, FlowrouteNotFoundError, "connection 'my_flowroute'"),
    (405, FlowrouteRequestError, "Change the request"),
    (415, FlowrouteRequestError, "Change the request"),
    (422, FlowrouteRequestError, "Change the request"),
    (429, FlowrouteRateLimitError, "too many requests"),
    (500, FlowrouteServerError, "Flowroute's side"),
    (503, FlowrouteServerError, "Flowroute's side"),
    (599, FlowrouteServerError, "Flowroute's side"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "error_class", "advice"), STATUSES)
def test_error_names_the_operation_the_cause_and_the_fix(
    call: str, status: int, error_class: type[FlowrouteAPIError], advice: str
):
    with (
        serving(lambda answer: answer.send(status, ERROR)) as server,
        pytest.raises(error_class, match=advice) as caught,
    ):
        CALLS[call](client_at(server.url, retries=0))

    error = caught.value
    assert type(error) is error_class
    first, *rest = str(error).splitlines()
    assert first.startswith(f"{call}: Flowroute answered {status}")
    assert len(first) <= 80
    assert rest[0] == "Invalid value: so and so. (error ID for Flowroute support: f3a378a2)"
    assert (error.status_code, error.detail, error.error_id) == (
        status,
        "Invalid value: so and so.",
        "f3a378a2",
    )
    assert error.transient == (status == 429 or status >= 500)


@pytest.mark.parametrize(
    ("body", "detail", "error_id"),
    [
        ("", None, None),
        ("<html>Bad gateway</html>", None, None),
        ({}, None, None),
        ([], None, None),
        ({"errors": []}, None, None),
        ({"errors": ["words"]}, None, None),
        ({"errors": None}, None, None),
        ({"errors": [{}]}, None, None),
        ({"errors": [{"title": "Only a title"}]}, "Only a title", None),
        ({"errors": ["words", {"detail": "The second"}]}, "The second", None),
    ],
)
def test_error_without_a_description_has_a_complete_message(body: Any, detail: Any, error_id: Any):
    with (
        serving(lambda answer: answer.send(502, body)) as server,
        pytest.raises(FlowrouteServerError) as caught,
    ):
        client_at(server.url, retries=0).get_cdr_export("1")

    assert (caught.value.detail, caught.value.error_id) == (detail, error_id)
    first, *rest = str(caught.value).splitlines()
    assert first == "Reading CDR export 1: Flowroute answered 502 Bad Gateway."
    assert (detail in rest) == (detail is not None)


def test_error_shows_all_errors_of_the_answer():
    errors = [
        {"id": "f3a378a2", "detail": "start_call_start_time is improperly formatted."},
        {"id": 17, "detail": 5},
        {"title": "Only a title"},
    ]
    with (
        serving(lambda answer: answer.send(422, {"errors": errors})) as server,
        pytest.raises(FlowrouteRequestError) as caught,
    ):
        client_at(server.url).create_cdr_export(PARAMETERS)

    assert str(caught.value).splitlines()[1:-2] == [
        "start_call_start_time is improperly formatted. (error ID for Flowroute support: f3a378a2)",
        "5 (error ID for Flowroute support: 17)",
        "Only a title",
    ]
    assert caught.value.errors == errors
    assert caught.value.detail == "start_call_start_time is improperly formatted."
    assert caught.value.error_id == "f3a378a2"


SENT_AT = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("header", "seconds", "shown"),
    [
        ("7", 7.0, "7 seconds"),
        ("0.5", 0.5, "0.5 seconds"),
        ("120", 120.0, "120 seconds"),
        ("Wed, 21 Oct 2026 07:30:05 GMT", 125.0, "125 seconds"),
        ("0", 0.0, None),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0, None),
        ("Wed, 21 Oct 2026 07:27:00 -0000", None, None),
        ("soon", None, None),
        ("-3", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("", None, None),
    ],
)
def test_rate_limit_error_has_the_delay_that_flowroute_asks_for(
    header: str, seconds: float | None, shown: str | None
):
    """A date counts from the date of the answer, whatever our clock shows."""

    def answer(request: Answer) -> None:
        request.send_response = request.send_response_only  # type: ignore[method-assign]
        request.send(429, ERROR, Retry_After=header, Date=SENT_AT)

    with serving(answer) as server, pytest.raises(FlowrouteRateLimitError) as caught:
        client_at(server.url, retries=0).get_cdr_export("1")

    assert caught.value.retry_after == seconds
    assert (f"Flowroute asks to wait {shown}." in str(caught.value)) == (shown is not None)
    assert ("asks to wait" in str(caught.value)) == (shown is not None)


def test_retry_after_date_counts_from_our_clock_without_a_date_header():
    header = email.utils.formatdate(time.time() + 300, usegmt=True)

    def answer(request: Answer) -> None:
        request.send_response = request.send_response_only  # type: ignore[method-assign]
        request.send(429, ERROR, Retry_After=header)

    with serving(answer) as server, pytest.raises(FlowrouteRateLimitError) as caught:
        client_at(server.url, retries=0).get_cdr_export("1")

    assert 270 < (caught.value.retry_after or 0) <= 300


@pytest.mark.parametrize("call", CALLS)
def test_error_for_wrong_keys_names_the_connection_not_the_key(flowroute: FlowrouteSimulator, call: str):
    with pytest.raises(FlowrouteAuthenticationError, match="'my_flowroute'") as caught:
        CALLS[call](client_at(flowroute.url, flowroute.access_key, SECRET_KEY))

    assert SECRET_KEY not in str(caught.value)
    assert caught.value.detail == "The access key or the secret key is not valid."


def test_rejected_request_has_flowroutes_description(flowroute: FlowrouteSimulator):
    with pytest.raises(FlowrouteRequestError, match="must not be longer than 92 days") as caught:
        client_of(flowroute).create_cdr_export({**PARAMETERS, "start_call_start_time": "2025-01-01 00:00:00"})

    assert caught.value.status_code == 422
    assert caught.value.error_id


@pytest.mark.parametrize("call", CALLS)
def test_web_page_instead_of_json_is_a_transient_error(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("html_reply")

    with pytest.raises(
        FlowrouteUnexpectedResponseError, match=r"(?s)the answer is not JSON.*200 with text/html"
    ) as caught:
        CALLS[call](client_of(flowroute))
    assert str(caught.value).startswith(call)
    assert caught.value.transient


@pytest.mark.parametrize("call", CALLS)
def test_json_with_another_structure_is_an_error(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("wrong_shape")
    flowroute.add_fault("wrong_shape", on="status")

    with pytest.raises(FlowrouteUnexpectedResponseError, match=r"no attributes|no list of data") as caught:
        CALLS[call](client_of(flowroute))
    assert not caught.value.transient


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"errors": []}, [], "5", "null"])
def test_list_with_another_structure_is_an_error(body: Any):
    with (
        serving(lambda answer: answer.send(200, body)) as server,
        pytest.raises(FlowrouteUnexpectedResponseError, match="no list of data"),
    ):
        list(client_at(server.url).list_cdr_exports())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed_with_the_keys(call: str, status: int):
    with (
        serving(lambda answer: answer.send(200, {"data": []})) as second,
        serving(lambda answer: answer.send(status, Location=second.url)) as first,
        pytest.raises(FlowrouteUnexpectedResponseError, match=rf"(?s)redirect \({status}\).*is not followed"),
    ):
        CALLS[call](client_at(first.url))

    assert len(first.requests) == 1
    assert second.requests == []


@pytest.mark.parametrize("call", CALLS)
def test_read_timeout_is_an_error(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("slow_reply", seconds=30, times=None)

    with pytest.raises(FlowrouteUnreachableError, match=r"no answer.\nReadTimeoutError.*timed out") as caught:
        CALLS[call](client_of(flowroute, read_timeout=0.1, retries=0))
    assert str(caught.value).startswith(call)
    assert caught.value.request_may_have_arrived


@pytest.mark.parametrize("call", CALLS)
def test_refused_connection_means_the_request_did_not_arrive(call: str, clock: FakeClock):
    with pytest.raises(FlowrouteUnreachableError, match=r"no answer.\nNewConnectionError.*refused") as caught:
        CALLS[call](client_at(f"http://127.0.0.1:{a_closed_port()}", retries=1, clock=clock))
    assert not caught.value.request_may_have_arrived


def test_broken_answer_means_the_request_may_have_arrived():
    def answer(request: Answer) -> None:
        request.send(201, '{"data": ', Content_Length="100")
        request.hang_up()

    with (
        serving(answer) as server,
        pytest.raises(FlowrouteUnreachableError, match="no answer") as caught,
    ):
        client_at(server.url).create_cdr_export(PARAMETERS)
    assert caught.value.request_may_have_arrived
    assert len(server.requests) == 1


def test_refused_proxy_means_the_request_did_not_arrive(clock: FakeClock):
    proxies = {"http": f"http://someone:proxy-password@127.0.0.1:{a_closed_port()}"}

    with pytest.raises(FlowrouteUnreachableError, match="ProxyError") as caught:
        client_at("http://127.0.0.1:9", proxies=proxies, clock=clock).create_cdr_export(PARAMETERS)
    assert not caught.value.request_may_have_arrived
    assert "proxy-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://", {}),
        ("no-scheme", {}),
        ("http://127.0.0.1:99999999", {}),
        ("http://127.0.0.1", {"proxies": {"http": "bad://"}}),
    ],
)
def test_invalid_url_is_a_connection_config_error(url: str, options: Any):
    with pytest.raises(FlowrouteConnectionConfigError, match="connection's host or proxies are invalid"):
        client_at(url, **options).get_cdr_export("1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server side of TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("call", CALLS)
def test_untrusted_certificate_is_a_connection_config_error(tls: ssl.SSLContext, call: str):
    with (
        serving(lambda answer: answer.send(200, {"data": []}), tls) as server,
        pytest.raises(
            FlowrouteConnectionConfigError, match=r"(?s)certificate is not trusted.*'verify'.*CA bundle"
        ),
    ):
        CALLS[call](client_at(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    "trusting", [lambda path: str(path), lambda path: False], ids=["a CA bundle", "no check"]
)
def test_certificate_is_checked_with_the_ca_bundle_or_not_at_all(
    tls: ssl.SSLContext, certificate: Path, trusting: Any, recwarn: pytest.WarningsRecorder
):
    with serving(lambda answer: answer.send(200, {"data": []}), tls) as server:
        assert list(client_at(server.url, verify=trusting(certificate)).list_cdr_exports()) == []


def test_tls_failure_after_sending_may_have_arrived(tls: ssl.SSLContext, certificate: Path):
    def answer(request: Answer) -> None:
        # Past TLS, directly into the socket.
        with socket.fromfd(request.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as bare:
            bare.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        request.hang_up()

    with (
        serving(answer, tls) as server,
        pytest.raises(FlowrouteUnreachableError, match="SSL") as caught,
    ):
        client_at(server.url, verify=str(certificate)).create_cdr_export(PARAMETERS)
    assert len(server.requests) == 1
    assert caught.value.request_may_have_arrived
