"""A callback URL belongs to one connection and one run, and only the secret can make one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.utils.callback_urls import (
    HAS_ASSET_STATE,
    build_callback_url,
    is_valid_token,
    plugin_callback_url,
)

SECRET = "0123456789abcdef0123456789abcdef"
RUN = ("dag", "run", "create", -1)
BASE_URL = "https://airflow.example.com/team"


def token_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_url_is_below_airflows_base_url():
    url = build_callback_url(f"{BASE_URL}/", "flowroute/eu", SECRET, RUN)

    assert url.startswith(f"{BASE_URL}/flowroute/callbacks/flowroute%2Feu/")
    assert is_valid_token(token_of(url), "flowroute/eu", SECRET)


def test_all_tries_of_a_task_instance_have_the_same_url():
    """Otherwise a retry would not find the export of an earlier try."""
    urls = {build_callback_url(BASE_URL, "a", SECRET, RUN) for _ in range(3)}

    assert len(urls) == 1


@pytest.mark.parametrize(
    "other", [("dag", "run", "create", 0), ("dag", "run2", "create", -1), ("da", "grun", "create", -1)]
)
def test_each_task_instance_has_a_token_of_its_own(other):
    assert build_callback_url(BASE_URL, "a", SECRET, RUN) != build_callback_url(BASE_URL, "a", SECRET, other)


@pytest.mark.parametrize("change", [
    lambda token: token[:-1],
    lambda token: token + "0",
    lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
    lambda token: ("0" if token[0] != "0" else "1") + token[1:],
    lambda token: token.upper(),
    lambda token: "",
    lambda token: "é" * 80,
])  # fmt: skip
def test_changed_token_is_invalid(change):
    token = token_of(build_callback_url(BASE_URL, "a", SECRET, RUN))

    assert is_valid_token(token, "a", SECRET)
    assert not is_valid_token(change(token), "a", SECRET)


def test_token_is_invalid_for_another_connection_or_secret():
    token = token_of(build_callback_url(BASE_URL, "a", SECRET, RUN))

    assert not is_valid_token(token, "b", SECRET)
    assert not is_valid_token(token, "a", SECRET[::-1])


@pytest.mark.parametrize(
    ("secret", "base_url", "missing"),
    [(None, BASE_URL, "no callback_secret"), (SECRET, "", "base_url is not set")],
)
def test_missing_setting_is_named_before_an_export_is_created(monkeypatch, secret, base_url, missing):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)

    with pytest.raises(FlowrouteConnectionConfigError, match=missing):
        plugin_callback_url("a", secret, SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1))


@pytest.mark.parametrize(
    "arguments", [{"callback": "mine"}, {"callback": "plugin", "callback_url": BASE_URL}]
)
def test_wrong_callback_argument_breaks_the_dag_import(arguments):
    with pytest.raises(AirflowFailException, match="callback cannot be"):
        CreateCdrExportOperator(task_id="create", **arguments)


@pytest.mark.skipif(HAS_ASSET_STATE, reason="This Airflow has the plugin.")
def test_older_airflow_refuses_the_plugin_when_it_parses_the_dag():
    with pytest.raises(AirflowFailException, match=r"on Airflow 3\.3 and later"):
        CreateCdrExportOperator(task_id="create", callback="plugin")


@pytest.mark.skipif(not HAS_ASSET_STATE, reason="The plugin needs Airflow 3.3.")
def test_created_export_has_the_url_and_no_field_of_the_task_has_it(flowroute, monkeypatch):
    """Airflow shows and stores the template fields of a task."""
    connection = {**json.loads(flowroute.connection_json), "extra": {"callback_secret": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE_URL)
    operator = CreateCdrExportOperator(
        task_id="create",
        callback="plugin",
        start_call_start_time="2026-03-02",
        start_call_end_time="2026-03-03",
        durable=False,
    )

    context: Any = {"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="create", map_index=-1)}
    operator.execute(context)

    url = flowroute.exports[-1].callback_url
    assert is_valid_token(token_of(url), "flowroute_default", SECRET)
    assert url not in repr([getattr(operator, name) for name in operator.template_fields])


@pytest.mark.parametrize("secret", ["short", 12345678901234567890123456789012, ["s" * 32]])
def test_weak_secret_is_refused_without_showing_it(connect, secret):
    with pytest.raises(FlowrouteConnectionConfigError, match="invalid callback_secret") as caught:
        connect(extra={"callback_secret": secret}).get_callback_secret()

    assert str(secret) not in str(caught.value)
