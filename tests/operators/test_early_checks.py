"""Mistakes are found when the DAG is parsed, or before the export is created, because an export costs money."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from pytest_mock import MockerFixture

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.utils.mixins import is_literal

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}
TEMPLATE = "{{ params.value }}"


def create(**options: Any) -> CreateCdrExportOperator:
    return CreateCdrExportOperator(task_id="create", **options)


@pytest.mark.parametrize("name", ["poke_interval", "timeout"])
@pytest.mark.parametrize(
    "value", ["1h", "60", TEMPLATE, None, True, -1, float("nan"), float("inf"), timedelta(-1)]
)
def test_invalid_duration_is_refused_at_parse_time(name: str, value: Any):
    with pytest.raises(AirflowFailException) as caught:
        create(**{name: value})

    first_line, cause, fix = str(caught.value).split("\n")
    assert first_line == f"{name} is not a duration."
    assert repr(value) in cause
    assert fix.startswith("Give seconds or a timedelta")


@pytest.mark.parametrize("value", [0, 0.5, 90, timedelta(minutes=1)])
def test_valid_durations_are_seconds(value: Any):
    operator = create(poke_interval=value, timeout=value)

    assert operator.poke_interval == operator.timeout == (60 if value == timedelta(minutes=1) else value)


@pytest.mark.parametrize("name", ["poke_interval", "timeout"])
def test_sensor_refuses_a_text_duration_at_parse_time(name: str):
    """Airflow itself checks these arguments of a sensor."""
    options: dict[str, Any] = {name: "1h"}
    with pytest.raises((ValueError, AirflowException), match=name):
        CdrExportSensor(task_id="wait", export_id="1", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_parameters": {"durationgreater_than": 60}}, "unknown filter 'durationgreater_than'"),
        ({"filter_parameters": {"direction": "sideways"}}, "direction"),
        ({"filter_parameters": '{"direction": "sideways"}'}, "direction"),
        ({"filter_parameters": {"direction": "sideways", "caller_ip": TEMPLATE}}, "direction"),
        ({"filter_parameters": {"direction": "sideways"}, "start_call_start_time": TEMPLATE}, "direction"),
        ({"filter_parameters": {**SAMPLE, "start_call_end_time": TEMPLATE, "direction": 1}}, "direction"),
        ({"filter_parameters": ["direction"]}, "not a mapping"),
        ({**SAMPLE, "start_call_end_time": "soon"}, "is not a date and time"),
        ({**SAMPLE, "start_call_end_time": "2019-06-24"}, "window is empty"),
        ({**SAMPLE, "start_call_end_time": "2019-12-31"}, "is too long"),
        ({"start_call_start_time": "2019-06-25"}, "window is incomplete"),
        ({**SAMPLE, "filter_parameters": SAMPLE}, "window is given twice"),
        ({"callback_url": "ftp://x"}, "callback_url"),
    ],
)
def test_invalid_literal_is_refused_at_parse_time(options: dict[str, Any], message: str):
    with pytest.raises(AirflowFailException, match=message):
        create(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"start_call_start_time": TEMPLATE},
        {"start_call_start_time": TEMPLATE, "start_call_end_time": "{% if x %}2019-06-26{% endif %}"},
        {"start_call_start_time": "2019-06-25", "start_call_end_time": TEMPLATE},
        {"filter_parameters": TEMPLATE},
        {"filter_parameters": {"direction": TEMPLATE, "callerid_numbers": ["1206", TEMPLATE]}},
        {"filter_parameters": {"start_call_start_time": TEMPLATE, "start_call_end_time": "2019-06-26"}},
        {"callback_url": TEMPLATE},
        # Only a DAG run knows whether a window is over.
        {"start_call_start_time": "2998-12-31", "start_call_end_time": "2999-01-01"},
    ],
)
def test_templates_and_the_clock_are_left_to_the_run(options: dict[str, Any]):
    create(**options)


@pytest.mark.parametrize("value", [None, "None", "", " ", True])
def test_sensor_refuses_a_missing_export_id_at_parse_time(value: Any):
    with pytest.raises(AirflowFailException, match="export_id"):
        CdrExportSensor(task_id="wait", export_id=value)


def test_unknown_filter_from_a_template_creates_no_export(flowroute: FlowrouteSimulator):
    operator = create(**SAMPLE, filter_parameters=TEMPLATE)
    operator.filter_parameters = {"durationgreater_than": 60}  # as rendered

    with pytest.raises(AirflowFailException, match=r"(?s)'durationgreater_than'.*'duration_greater_than'"):
        operator.execute({})
    assert flowroute.requests == []


def test_allowed_unknown_filter_is_sent(flowroute: FlowrouteSimulator):
    create(**SAMPLE, filter_parameters={"exclude_failed": True}, allow_unknown_filters=True).execute({})

    assert flowroute.exports[0].filter_parameters["exclude_failed"] is True


def test_log_shows_counts_instead_of_phone_numbers(flowroute: FlowrouteSimulator, mocker: MockerFixture):
    log = mocker.patch.object(CreateCdrExportOperator, "log")

    create(**SAMPLE, filter_parameters={"callerid_numbers": ["12065551212", "12065551213"]}).execute({})

    lines = [call.args[0] % call.args[1:] for call in log.info.call_args_list]
    assert any("callerid_numbers: 2 values" in line for line in lines), lines
    assert "1206555" not in str(log.mock_calls)


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, True),
        ("2019-06-25", True),
        (datetime(2019, 6, 25, tzinfo=UTC), True),
        (date(2019, 6, 25), True),
        ({"a": ["b", 1, 0.5, True, ("c",)]}, True),
        (TEMPLATE, False),
        ("{# a comment #}", False),
        ({"a": ["b", {"c": TEMPLATE}]}, False),
        (CdrExportSensor(task_id="wait", export_id="1").output, False),
        ([object()], False),
    ],
)
def test_literal_has_no_template_and_no_xcom(value: object, literal: bool):
    assert is_literal(value) is literal
