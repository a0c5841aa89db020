"""The hook creates a client from every notation of a connection; the error of an invalid one names the fix."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Connection

from airflow_provider_flowroute.api.client import DEFAULT_BASE_URL
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    FlowrouteConnectionConfigError,
    FlowrouteError,
    FlowrouteUnreachableError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.utils.mixins import fail_without_retry
from tests.support import PARAMETERS, SECRET_KEY, a_closed_port, all_words_of, options_of

KEYS = {"login": "the-access-key", "password": SECRET_KEY}
NAME = "my_flowroute"


def test_connection_needs_only_its_keys(connect: Any):
    assert options_of(connect()) == {
        "keys": (b"the-access-key", SECRET_KEY.encode()),
        "base_url": DEFAULT_BASE_URL,
        "name": NAME,
        "timeout": (10, 60),
        "retries": 5,
        "proxies": {},
        "verify": True,
        "download_hosts": (),
    }


@pytest.mark.parametrize(
    "connection",
    [
        f"flowroute://the-access-key:{SECRET_KEY}@/?retries=2",
        f"flowroute://the-access-key:{SECRET_KEY}@api.flowroute.com/?retries=2",
        f"flowroute://the-access-key:{SECRET_KEY}@https%3A%2F%2Fapi.flowroute.com/?retries=2",
        json.dumps({"conn_type": "flowroute", **KEYS, "extra": {"retries": 2}}),
        json.dumps(
            {
                "conn_type": "flowroute",
                **KEYS,
                "host": "https://api.flowroute.com",
                "extra": '{"retries": "2"}',
            }
        ),
    ],
)
def test_uri_and_json_connections_create_the_same_client(connect: Any, connection: str):
    options = options_of(connect(connection))

    assert options["keys"] == (b"the-access-key", SECRET_KEY.encode())
    assert (options["base_url"], options["retries"]) == (DEFAULT_BASE_URL, 2)


def test_simulator_connection_works_unchanged(flowroute: FlowrouteSimulator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", flowroute.connection_json)
    hook = FlowrouteHook()

    assert hook.flowroute_conn_id == "flowroute_default"
    assert list(hook.get_conn().list_cdr_exports()) == []
    assert hook.get_conn() is hook.get_conn()


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": ""}, DEFAULT_BASE_URL),
        ({"host": None}, DEFAULT_BASE_URL),
        ({"host": "  "}, DEFAULT_BASE_URL),
        ({"host": "", "port": 8080}, DEFAULT_BASE_URL),
        ({"host": "api.flowroute.com"}, "https://api.flowroute.com"),
        ({"host": "https://api.flowroute.com"}, "https://api.flowroute.com"),
        ({"host": " https://api.flowroute.com/ "}, "https://api.flowroute.com"),
        ({"host": "HTTPS://API.Flowroute.com"}, "https://api.flowroute.com"),
        ({"host": "https://api.flowroute.com/v2"}, "https://api.flowroute.com"),
        ({"host": "https://api.flowroute.com/v2/"}, "https://api.flowroute.com"),
        ({"host": "https://gateway.example.com/flowroute/v2/"}, "https://gateway.example.com/flowroute"),
        ({"host": "https://gateway.example.com:8443"}, "https://gateway.example.com:8443"),
        ({"host": "gateway.example.com:8443"}, "https://gateway.example.com:8443"),
        ({"host": "gateway.example.com", "port": 8443}, "https://gateway.example.com:8443"),
        ({"host": "https://gateway.example.com:8443", "port": 9}, "https://gateway.example.com:8443"),
        ({"host": "gateway.example.com", "port": 0}, "https://gateway.example.com"),
        ({"host": "gateway.example.com", "schema": "https"}, "https://gateway.example.com"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "http://localhost", "port": 8080}, "http://localhost:8080"),
        ({"host": "localhost", "schema": "http", "port": 8080}, "http://localhost:8080"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080"),
        ({"host": "[::1]", "schema": "http", "port": 8080}, "http://[::1]:8080"),
        ({"host": "::1", "schema": "http", "port": 8080}, "http://[::1]:8080"),
    ],
)
def test_host_accepts_every_common_notation(connect: Any, fields: dict[str, Any], url: str):
    assert connect(**fields).get_conn().base_url == url


@pytest.mark.parametrize("schema", ["http", "https"])
def test_uri_connection_accepts_port_and_scheme(connect: Any, schema: str):
    hook = connect(f"flowroute://the-access-key:{SECRET_KEY}@localhost:8080/{schema}")

    assert hook.get_conn().base_url == f"{schema}://localhost:8080"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "http://api.flowroute.com"},
        {"host": "api.flowroute.com", "schema": "http"},
        {"host": "http://10.0.0.1:8080"},
        {"host": "http://127.0.0.1.evil.test"},
        {"host": "http://localhost.evil.test"},
    ],
)
def test_keys_are_not_sent_over_http_to_another_machine(connect: Any, fields: dict[str, Any]):
    with pytest.raises(
        FlowrouteConnectionConfigError,
        match=rf"(?s)'{NAME}' has an invalid host.*https URL; over http, the keys",
    ):
        connect(**fields).get_conn()


@pytest.mark.parametrize(
    "host",
    [
        "ftp://api.flowroute.com",
        "https://",
        "https:///v2",
        "https://api.flowroute.com:port",
        "https://api.flowroute.com:99999",
        "https://api.flowroute.com?x=1",
        "https://api.flowroute.com#x",
        "https://[::1",
    ],
)
def test_invalid_host_is_refused_and_shown(connect: Any, host: str):
    with pytest.raises(FlowrouteConnectionConfigError) as caught:
        connect(host=host).get_conn()
    assert f"Connection '{NAME}' has an invalid host.\nIts value is {host!r}.\nSet it to " in str(
        caught.value
    )


@pytest.mark.parametrize(
    "host",
    ["https://key:hidden-word@api.flowroute.com", "https://key:hidden-word@[::1", "key:hidden-word@x:y"],
)
def test_keys_in_the_host_are_refused_and_hidden(connect: Any, host: str):
    with pytest.raises(
        FlowrouteConnectionConfigError, match=f"Connection '{NAME}' has an invalid host"
    ) as caught:
        connect(host=host).get_conn()
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"login": None}, "Access Key"),
        ({"login": ""}, "Access Key"),
        ({"password": None}, "Secret Key"),
        ({"password": ""}, "Secret Key"),
        ({"login": None, "password": None}, "Access Key"),
    ],
)
def test_missing_key_is_named(connect: Any, fields: dict[str, Any], missing: str):
    with pytest.raises(
        FlowrouteConnectionConfigError,
        match=rf"(?s)Connection '{NAME}' has no {missing} \(.*Enter it in the conn",
    ):
        connect(**fields).get_conn()


def test_async_client_equals_the_sync_client(connect: Any):
    fields = {
        "host": "http://localhost",
        "port": 8080,
        "extra": {"retries": "2", "verify": "n", "proxies": "http://p"},
    }
    hook = connect(**fields)

    async def get_twice() -> bool:
        return await hook.aget_conn() is await hook.aget_conn()

    assert asyncio.run(get_twice())
    assert options_of(hook) == options_of(connect(**fields))


def test_async_client_refuses_an_invalid_connection(connect: Any):
    with pytest.raises(FlowrouteConnectionConfigError, match="no Secret Key"):
        asyncio.run(connect(password=None).aget_conn())


def test_hook_creates_reads_and_lists_exports(flowroute: FlowrouteSimulator):
    hook = FlowrouteHook()
    created = hook.create_cdr_export(PARAMETERS, "https://example.com/callback")

    assert hook.get_cdr_export(created.id).callback_url == "https://example.com/callback"
    assert [export.id for export in hook.list_cdr_exports(status="completed", page_size=1)] == [created.id]
    assert [request.on for request in flowroute.requests][:3] == ["create", "status", "list"]
    assert (flowroute.requests[2].query["status"], flowroute.requests[2].query["limit"]) == ("completed", "1")
    assert list(hook.list_cdr_exports("failed")) == []


def test_connection_test_succeeds_with_one_small_request(flowroute: FlowrouteSimulator, connect: Any):
    assert connect(flowroute.connection_json).test_connection() == (
        True,
        f"Connected to {flowroute.url}. The keys are valid.",
    )
    (request,) = flowroute.requests
    assert (request.on, request.query["limit"]) == ("list", "1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "The access key or the secret key is not valid"),
        ({"password": None}, "no Secret Key"),
        ({"host": "http://api.flowroute.com"}, "over http, the keys"),
        ({"extra": {"retries": "many"}}, "Its value is 'many'"),
        ({"host": f"http://127.0.0.1:{a_closed_port()}"}, "no answer"),
    ],
)
def test_connection_test_fails_with_the_cause_and_without_the_key(
    flowroute: FlowrouteSimulator, connect: Any, fields: dict[str, Any], words: str
):
    succeeded, message = connect(**{"host": flowroute.url, **fields}).test_connection()

    assert not succeeded
    assert words in message
    assert SECRET_KEY not in message


def test_connection_test_does_not_retry(flowroute: FlowrouteSimulator, connect: Any):
    flowroute.add_fault("server_error", on="list", times=None)

    succeeded, message = connect(flowroute.connection_json).test_connection()
    assert not succeeded
    assert "500" in message
    assert len(flowroute.requests) == 1


def test_permanent_error_fails_the_task_without_retries():
    with (
        pytest.raises(AirflowFailException, match="the window is wrong") as caught,
        fail_without_retry(),
    ):
        raise FlowrouteValueError("the window is wrong")
    assert SECRET_KEY not in all_words_of(caught.value)


@pytest.mark.parametrize(
    "error", [FlowrouteUnreachableError("a blip"), CdrExportFailedError("excepted"), KeyError("another's")]
)
def test_other_errors_use_the_task_retries(error: Exception):
    with pytest.raises(type(error)) as caught, fail_without_retry(except_for=CdrExportFailedError):
        raise error
    assert caught.value is error


def test_connection_created_in_code_is_supported(connect: Any):
    connection = Connection(conn_id=NAME, conn_type="flowroute", **KEYS, extra='{"retries": 1}')

    assert FlowrouteHook(NAME)._client_for(connection, connection.extra_dejson)._retries == 1


def test_connection_errors_are_flowroute_errors(connect: Any):
    with pytest.raises(FlowrouteError):
        connect(login=None).get_conn()
