"""The extra fields of a connection, as a form, a URI or JSON stores them."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_flowroute import CONNECTION_FIELDS
from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from tests.support import options_of

NAME = "my_flowroute"

EXTRAS: list[tuple[str, Any, str, Any]] = [
    ("connect_timeout", 3, "timeout", (3, 60)),
    ("connect_timeout", "3", "timeout", (3, 60)),
    ("connect_timeout", "0.5", "timeout", (0.5, 60)),
    ("read_timeout", 30.5, "timeout", (10, 30.5)),
    ("retries", 0, "retries", 0),
    ("retries", "7", "retries", 7),
    ("retries", 7.0, "retries", 7),
    ("proxies", "http://proxy:3128", "proxies", {"http": "http://proxy:3128", "https": "http://proxy:3128"}),
    ("proxies", '{"https": "http://proxy:3128"}', "proxies", {"https": "http://proxy:3128"}),
    ("proxies", {"https": "http://proxy:3128"}, "proxies", {"https": "http://proxy:3128"}),
    *(("verify", value, "verify", True) for value in (True, "true", "True", "y", "yes", "on", "1", 1)),
    *(("verify", value, "verify", False) for value in (False, "false", "n", "no", "off", "0", 0)),
    ("verify", __file__, "verify", __file__),
    ("download_hosts", "files.example.com", "download_hosts", ("files.example.com",)),
    (
        "download_hosts",
        " A.example.com, b.example.com ,",
        "download_hosts",
        ("a.example.com", "b.example.com"),
    ),
    ("download_hosts", ["a.example.com", "B"], "download_hosts", ("a.example.com", "b")),
    *((name, nothing, "timeout", (10, 60)) for name in sorted(CONNECTION_FIELDS) for nothing in (None, "")),
]


@pytest.mark.parametrize("prefix", ["", "extra__flowroute__"])
@pytest.mark.parametrize(("name", "value", "option", "expected"), EXTRAS)
def test_extra_field_accepts_every_type_that_a_form_stores(
    connect: Any, prefix: str, name: str, value: Any, option: str, expected: Any
):
    assert options_of(connect(extra={prefix + name: value}))[option] == expected


def test_empty_extra_field_does_not_hide_its_prefixed_name(connect: Any):
    """A form may store the field empty under one of its two names and filled under the other."""
    for extra in (
        {"extra__flowroute__retries": "7", "retries": None},
        {"retries": "7", "extra__flowroute__retries": ""},
    ):
        assert options_of(connect(extra=extra))["retries"] == 7


PASTED = "-----BEGIN CERTIFICATE-----\n" + "M" * 500
BAD_EXTRAS: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("connect_timeout", "read_timeout")
        for value in (0, -1, "soon", True, [3], "nan", "inf", float("inf"))
    ),
    *(("retries", value) for value in (-1, "many", 1.5, "1.5", True, [3], float("inf"))),
    *(("proxies", value) for value in (5, ["http://proxy"], '{"https": ', '{"https": 5}', {"https": None})),
    *(("verify", value) for value in ("maybe", "no-such-file.pem", 5, [], PASTED)),
    *(("download_hosts", value) for value in (5, [5], "https://a.example.com", "a.example.com:9000", "a b", "a/b")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_EXTRAS)
def test_invalid_extra_field_error_names_connection_field_and_value(connect: Any, name: str, value: Any):
    with pytest.raises(FlowrouteConnectionConfigError) as caught:
        connect(extra={name: value}).get_conn()
    first_line, value_line, fix = str(caught.value).split("\n")
    assert first_line == f"Connection '{NAME}' has an invalid extra field {name!r}."
    assert value_line == f"Its value is {value!r}."
    assert fix.startswith("Set it to ")


def test_invalid_proxy_error_hides_the_proxy_password(connect: Any):
    with pytest.raises(FlowrouteConnectionConfigError, match="invalid extra field 'proxies'") as caught:
        connect(extra={"proxies": '{"https": "http://someone:hidden-word@proxy:3128"'}).get_conn()
    assert "hidden-word" not in str(caught.value)


def test_unknown_extra_field_logs_a_warning_with_the_known_ones(connect: Any, mocker: MockerFixture):
    # pytest does not capture Airflow 3's own loggers.
    log = mocker.patch.object(FlowrouteHook, "log")

    connect(extra={"timeout": 5, "retries": 2}).get_conn()

    (warning,) = [call.args[0] % call.args[1:] for call in log.warning.call_args_list]
    assert f"'{NAME}' has unknown extra fields: timeout." in warning
    assert ", ".join(CONNECTION_FIELDS) in warning
