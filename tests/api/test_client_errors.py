"""What goes wrong between the client and the API, and what the user is told then."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
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
from tests.support import PARAMETERS, SECRET_KEY, Answer, a_closed_port, client_at, client_of, serving

CALLS: dict[str, Callable[[FlowrouteClient], Any]] = {
    "Creating a CDR export": lambda client: client.create_cdr_export(PARAMETERS),
    "Reading CDR export 38647": lambda client: client.get_cdr_export("38647"),
    "Listing CDR exports": lambda client: list(client.list_cdr_exports()),
}
ERROR = {
    "errors": [{"id": "f3a378a2", "status": 422, "title": "Wrong", "detail": "Invalid value: so and so."}]
}
STATUSES: list[tuple[int, type[FlowrouteAPIError], str]] = [
    (400, FlowrouteRequestError, "change what it asks for"),
    (401, FlowrouteAuthenticationError, "connection 'my_flowroute'.*Access Key.*Secret Key.*expired"),
    (403, FlowroutePermissionError, "connection 'my_flowroute'.*may not do this"),
    (404, FlowrouteNotFoundError, "connection 'my_flowroute'"),
    (405, FlowrouteRequestError, "change what it asks for"),
    (415, FlowrouteRequestError, "change what it asks for"),
    (422, FlowrouteRequestError, "change what it asks for"),
    (429, FlowrouteRateLimitError, "Too many requests"),
    (500, FlowrouteServerError, "Flowroute's side"),
    (503, FlowrouteServerError, "Flowroute's side"),
    (599, FlowrouteServerError, "Flowroute's side"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "error_class", "advice"), STATUSES)
def test_an_error_says_what_was_done_what_flowroute_said_and_what_to_do(
    call: str, status: int, error_class: type[FlowrouteAPIError], advice: str
):
    with (
        serving(lambda answer: answer.send(status, ERROR)) as server,
        pytest.raises(error_class, match=advice) as caught,
    ):
        CALLS[call](client_at(server.url, retries=0))

    error = caught.value
    assert type(error) is error_class
    assert str(error).startswith(
        f"{call}: Flowroute answered {status}: Invalid value: so and so "
        "(error id f3a378a2, which Flowroute's support asks for). "
    )
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
        ({"errors": [{"title": "Only a title"}]}, "Only a title", None),
        ({"errors": [{"id": 17, "detail": 5}]}, "5", "17"),
    ],
)
def test_an_error_without_flowroutes_words_is_still_a_whole_sentence(body: Any, detail: Any, error_id: Any):
    with (
        serving(lambda answer: answer.send(502, body)) as server,
        pytest.raises(FlowrouteServerError) as caught,
    ):
        client_at(server.url, retries=0).get_cdr_export("1")

    assert (caught.value.detail, caught.value.error_id) == (detail, error_id)
    said = f": {detail}" if detail else " Bad Gateway"
    assert f"Flowroute answered 502{said}" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("soon", None)]
)
def test_a_rate_limit_tells_how_long_flowroute_asks_to_wait(header: str, seconds: float | None):
    with (
        serving(lambda answer: answer.send(429, ERROR, Retry_After=header)) as server,
        pytest.raises(FlowrouteRateLimitError) as caught,
    ):
        client_at(server.url, retries=0).get_cdr_export("1")

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("call", CALLS)
def test_wrong_keys_name_the_connection_and_never_the_key(flowroute: FlowrouteSimulator, call: str):
    with pytest.raises(FlowrouteAuthenticationError, match="'my_flowroute'") as caught:
        CALLS[call](client_at(flowroute.url, flowroute.access_key, SECRET_KEY))

    assert SECRET_KEY not in str(caught.value)
    assert caught.value.detail == "The access key or the secret key is not valid."


def test_a_request_that_flowroute_refuses_comes_with_its_own_words(flowroute: FlowrouteSimulator):
    with pytest.raises(FlowrouteRequestError, match="must not be longer than 92 days") as caught:
        client_of(flowroute).create_cdr_export({**PARAMETERS, "start_call_start_time": "2025-01-01 00:00:00"})

    assert caught.value.status_code == 422
    assert caught.value.error_id


@pytest.mark.parametrize("call", CALLS)
def test_a_web_page_instead_of_json_may_pass(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("html_reply")

    with pytest.raises(
        FlowrouteUnexpectedResponseError, match=r"200 with text/html.* instead of JSON"
    ) as caught:
        CALLS[call](client_of(flowroute))
    assert str(caught.value).startswith(call)
    assert caught.value.transient


@pytest.mark.parametrize("call", CALLS)
def test_json_of_another_shape_is_refused(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("wrong_shape")
    flowroute.add_fault("wrong_shape", on="status")

    with pytest.raises(FlowrouteUnexpectedResponseError, match=r"no attributes|no list of data") as caught:
        CALLS[call](client_of(flowroute))
    assert not caught.value.transient


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"errors": []}, [], "5", "null"])
def test_a_list_of_another_shape_is_refused(body: Any):
    with (
        serving(lambda answer: answer.send(200, body)) as server,
        pytest.raises(FlowrouteUnexpectedResponseError, match="no list of data"),
    ):
        list(client_at(server.url).list_cdr_exports())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_the_keys_never_reach_the_second_host(call: str, status: int):
    with (
        serving(lambda answer: answer.send(200, {"data": []})) as second,
        serving(lambda answer: answer.send(status, Location=second.url)) as first,
        pytest.raises(
            FlowrouteUnexpectedResponseError, match=rf"redirect \({status}\), which is not followed"
        ),
    ):
        CALLS[call](client_at(first.url))

    assert len(first.requests) == 1
    assert second.requests == []


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_does_not_answer_in_time_is_given_up(flowroute: FlowrouteSimulator, call: str):
    flowroute.add_fault("slow_reply", seconds=30, times=None)

    with pytest.raises(FlowrouteUnreachableError, match=r"no answer \(ReadTimeoutError.*timed out") as caught:
        CALLS[call](client_of(flowroute, read_timeout=0.1, retries=0))
    assert str(caught.value).startswith(call)
    assert caught.value.request_may_have_arrived


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_is_not_there_was_provably_not_reached(call: str, pauses: list[float]):
    with pytest.raises(FlowrouteUnreachableError, match=r"no answer \(NewConnectionError.*refused") as caught:
        CALLS[call](client_at(f"http://127.0.0.1:{a_closed_port()}", retries=1))
    assert not caught.value.request_may_have_arrived


def test_an_answer_that_breaks_off_may_have_arrived():
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


def test_a_proxy_that_is_not_there_was_provably_not_passed(pauses: list[float]):
    proxies = {"http": f"http://someone:proxy-password@127.0.0.1:{a_closed_port()}"}

    with pytest.raises(FlowrouteUnreachableError, match="ProxyError") as caught:
        client_at("http://127.0.0.1:9", proxies=proxies).create_cdr_export(PARAMETERS)
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
def test_an_address_that_cannot_be_is_the_connections_fault(url: str, options: Any):
    with pytest.raises(FlowrouteConnectionConfigError, match="connection's host or proxies cannot be used"):
        client_at(url, **options).get_cdr_export("1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1."""
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
    """A server's side of TLS, with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("call", CALLS)
def test_a_certificate_nobody_trusts_is_the_connections_fault(tls: ssl.SSLContext, call: str):
    with (
        serving(lambda answer: answer.send(200, {"data": []}), tls) as server,
        pytest.raises(
            FlowrouteConnectionConfigError, match=r"certificate is not trusted.*'verify'.*CA bundle"
        ),
    ):
        CALLS[call](client_at(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    "trusting", [lambda path: str(path), lambda path: False], ids=["a CA bundle", "no check"]
)
def test_a_certificate_is_checked_with_the_connections_ca_bundle_or_not_at_all(
    tls: ssl.SSLContext, certificate: Path, trusting: Any, recwarn: pytest.WarningsRecorder
):
    with serving(lambda answer: answer.send(200, {"data": []}), tls) as server:
        assert list(client_at(server.url, verify=trusting(certificate)).list_cdr_exports()) == []


def test_tls_that_breaks_after_the_request_was_sent_may_have_arrived(tls: ssl.SSLContext, certificate: Path):
    def answer(request: Answer) -> None:
        # Beside TLS, straight into its socket.
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
