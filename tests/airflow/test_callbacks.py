"""The callback receiver in an ASGI server, with Airflow's database: what it accepts, and what a refusal costs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_flowroute.plugins import callbacks
from airflow_provider_flowroute.plugins.callbacks import CallbackReceiver, FlowrouteCallbacksPlugin
from airflow_provider_flowroute.utils.callback_urls import HAS_ASSET_STATE, PREFIX, build_callback_url
from airflow_provider_flowroute.utils.watch_state import CALLBACK_KEY

pytestmark = pytest.mark.airflow
needs_state = pytest.mark.skipif(not HAS_ASSET_STATE, reason="The plugin needs Airflow 3.3.")

SECRET = "0123456789abcdef0123456789abcdef"
BODY = json.dumps({"data": {"attributes": {"resource_id": "7", "resource_type": "cdrexports"}}})
JSON = {"Content-Type": "application/json"}
URL = build_callback_url("", "flowroute_callbacks", SECRET, ["run"])


def connection(secret: str | None) -> str:
    extra = {} if secret is None else {"callback_secret": secret}
    return json.dumps({"conn_type": "flowroute", "login": "key", "password": "secret", "extra": extra})


@pytest.fixture
def asset_id(airflow_db: None) -> Iterator[int]:
    """An asset with a watcher of the connection ``flowroute_callbacks``."""
    from airflow.models.asset import AssetModel, AssetWatcherModel
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        asset = AssetModel(name="exports", uri="exports", extra={}, group="asset")
        trigger = Trigger(classpath=callbacks.TRIGGER, kwargs={"flowroute_conn_id": "flowroute_callbacks"})
        session.add_all([asset, trigger])
        session.flush()
        watcher = AssetWatcherModel(name="watcher", asset_id=asset.id, trigger_id=trigger.id)
        session.add(watcher)
        made = int(asset.id)
    yield made
    with create_session() as session:
        for row in (watcher, trigger, asset):
            session.delete(session.merge(row))


@pytest.fixture
def server(asset_id: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server with the receiver."""
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_CALLBACKS", connection(SECRET))
    app = FastAPI()
    app.mount(PREFIX, CallbackReceiver())
    with TestClient(app) as client:
        yield client


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The SQL statements of this process."""
    from airflow import settings
    from sqlalchemy import event

    executed: list[str] = []

    def record(conn: Any, cursor: Any, statement: str, *args: Any) -> None:
        executed.append(statement)

    event.listen(settings.engine, "before_cursor_execute", record)
    yield executed
    event.remove(settings.engine, "before_cursor_execute", record)


def stored(asset_id: int) -> Any:
    """Return the value that the watcher of the asset polls."""
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.get(AssetStateStoreModel, (asset_id, CALLBACK_KEY))
        return row and row.value


@needs_state
def test_callback_lets_the_watchers_of_its_connection_poll(server, asset_id):
    assert stored(asset_id) is None

    first = server.post(URL, content=BODY, headers=JSON)
    value = stored(asset_id)
    second = server.post(
        URL, content=BODY, headers={"Content-Type": "application/vnd.api+json; charset=utf-8"}
    )

    assert (first.status_code, second.status_code) == (200, 200)
    assert value is not None
    assert stored(asset_id) != value


@needs_state
def test_many_callbacks_cause_one_poll_a_second(server, statements, monkeypatch):
    monkeypatch.setattr(callbacks, "POLL_INTERVAL", 0.3)
    server.post(URL, content=BODY, headers=JSON)
    statements.clear()
    began = time.monotonic()
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: server.post(URL, content=BODY, headers=JSON), range(40)))

    assert {answer.status_code for answer in answers} == {200}
    polls = sum("INSERT INTO asset_state_store" in statement for statement in statements)
    assert 1 <= polls <= (time.monotonic() - began) / 0.3 + 1


REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "unknown connection": (404, {"url": URL.replace("flowroute_callbacks", "other")}),
    "wrong token": (404, {"url": URL[:-1] + "x"}),
    "token of another connection": (404, {"url": build_callback_url("", "other", SECRET, ["run"])}),
    "no token": (404, {"url": f"{PREFIX}/flowroute_callbacks"}),
    "wrong method": (405, {"method": "GET"}),
    "wrong content type": (415, {"headers": {"Content-Type": "text/plain"}}),
    "no content type": (415, {"headers": {}}),
    "too large": (413, {"content": b" " * (64 * 1024 + 1)}),
    "invalid JSON": (400, {"content": b"{"}),
    "deep JSON": (400, {"content": b"[" * 60_000}),
    "not UTF-8": (400, {"content": b'{"data": "\xff"}'}),
    "not an object": (422, {"content": b"[]"}),
    "another resource": (422, {"content": BODY.replace("cdrexports", "portorders").encode()}),
    "no export": (422, {"content": BODY.replace('"7"', "null").encode()}),
}


@needs_state
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_request_touches_neither_database_nor_flowroute(server, statements, asset_id, refusal):
    """Flowroute cannot be reached at all: the receiver has no client."""
    status, changes = REFUSALS[refusal]
    server.get(URL)  # reads connections and watchers
    before = stored(asset_id)
    statements.clear()

    request = {"method": "POST", "url": URL, "content": BODY, "headers": JSON, **changes}
    assert server.request(**request).status_code == status

    assert statements == []
    assert stored(asset_id) == before


@needs_state
def test_flood_grows_nothing_and_logs_one_line(asset_id, monkeypatch, caplog):
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_CALLBACKS", connection(SECRET))
    app, receiver = FastAPI(), CallbackReceiver()
    app.mount(PREFIX, receiver)
    with TestClient(app) as client, caplog.at_level(logging.INFO, logger=callbacks.__name__):
        for number in range(500):
            client.post(f"{PREFIX}/conn{number}/token{number}", content=BODY, headers=JSON)

    state = [value for value in vars(receiver).values() if isinstance(value, dict)]
    assert sum(map(len, state)) <= 2
    [line] = [record.getMessage() for record in caplog.records if record.name == callbacks.__name__]
    assert line == "Callbacks since the last such line: 1 refused (wrong token)."


@needs_state
def test_access_log_has_no_token_and_no_line_for_refusals(server, monkeypatch, asset_id):
    from airflow.api_fastapi.common.http_access_log import HttpAccessLogMiddleware
    from fastapi import FastAPI
    from starlette.testclient import TestClient
    from structlog.testing import capture_logs

    app = FastAPI()
    app.mount(PREFIX, CallbackReceiver())
    app.add_middleware(HttpAccessLogMiddleware)
    with TestClient(app) as client, capture_logs() as lines:
        client.post(URL, content=BODY, headers=JSON)
        client.post(URL[:-1] + "x", content=BODY, headers=JSON)

    assert [line["path"] for line in lines if line["event"] == "request finished"] == [
        f"{PREFIX}/flowroute_callbacks/***"
    ]


@needs_state
@pytest.mark.parametrize("secret", [None, "too short"])
def test_receiver_is_off_without_a_valid_secret(server, monkeypatch, secret):
    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_CALLBACKS", connection(secret))

    assert server.post(URL, content=BODY, headers=JSON).status_code == 404


@needs_state
def test_new_secret_replaces_the_old_one_within_the_reload_interval(server, monkeypatch):
    monkeypatch.setattr(callbacks, "RELOAD_INTERVAL", 0.0)
    assert server.post(URL, content=BODY, headers=JSON).status_code == 200

    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_CALLBACKS", connection(SECRET[::-1]))
    new_url = build_callback_url("", "flowroute_callbacks", SECRET[::-1], ["run"])

    assert server.post(URL, content=BODY, headers=JSON).status_code == 404
    assert server.post(new_url, content=BODY, headers=JSON).status_code == 200


@needs_state
def test_secret_is_found_in_a_connection_of_the_database(asset_id):
    """Most connections are there. The process has the context that the API server gives itself."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        stored_connection = Connection(
            conn_id="flowroute_callbacks",
            conn_type="flowroute",
            login="key",
            password="secret",
            extra=json.dumps({"callback_secret": SECRET}),
        )
        session.add(stored_connection)
    code = (
        f"from {callbacks.__name__} import load_watched\n"
        "print([(name, watched.secret, watched) for name, watched in load_watched().items()])"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "_AIRFLOW_PROCESS_CONTEXT": "server"},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        with create_session() as session:
            session.delete(session.merge(stored_connection))

    assert f"[('flowroute_callbacks', '{SECRET}', Watched(asset_ids=({asset_id},)))]" in done.stdout


@needs_state
def test_database_failure_asks_flowroute_to_repeat_the_callback(server, asset_id):
    from airflow import settings
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    def fail(*args: Any) -> None:
        raise OperationalError("database is locked", None, Exception())

    assert server.post(URL, content=BODY, headers=JSON).status_code == 200
    event.listen(settings.engine, "before_cursor_execute", fail)
    try:
        assert server.post(URL, content=BODY, headers=JSON).status_code == 503
    finally:
        event.remove(settings.engine, "before_cursor_execute", fail)
    assert server.post(URL, content=BODY, headers=JSON).status_code == 200


def test_plugin_costs_other_processes_at_most_20_ms():
    code = (
        "import sys, time, airflow.plugins_manager; before = set(sys.modules); start = time.perf_counter()\n"
        "import airflow_provider_flowroute.plugins.callbacks\n"
        "print((time.perf_counter() - start) * 1000, *(name for name in set(sys.modules) - before))"
    )

    def measure() -> tuple[float, set[str]]:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        milliseconds, *modules = done.stdout.split()
        return float(milliseconds), {name.partition(".")[0] for name in modules}

    milliseconds, modules = measure()

    assert not {"fastapi", "starlette", "requests", "sqlalchemy"} & modules
    # Again if the machine was busy.
    assert milliseconds <= 20 or any(measure()[0] <= 20 for _ in range(3))


def test_plugin_mounts_the_receiver_on_airflow_3_3_and_later():
    assert [app["url_prefix"] for app in FlowrouteCallbacksPlugin.fastapi_apps] == [PREFIX] * HAS_ASSET_STATE
