"""What CreateCdrExportOperator requests, refuses and waits for; test_one_export.py has its retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator

DAY = {
    "data_interval_start": pendulum.datetime(2026, 11, 19),
    "data_interval_end": pendulum.datetime(2026, 11, 20),
}
SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def create(context=None, **options):
    return CreateCdrExportOperator(task_id="create", **options).execute(DAY if context is None else context)


def test_default_window_is_the_data_interval(flowroute):
    export_id = create()

    [export] = flowroute.exports
    assert export_id == export.id
    assert isinstance(export_id, str)
    assert (export.start, export.end) == (
        datetime(2026, 11, 19, tzinfo=UTC),
        datetime(2026, 11, 20, tzinfo=UTC),
    )


def test_window_is_accepted_in_filter_parameters(flowroute):
    create(filter_parameters={**SAMPLE, "direction": "inbound"})

    [export] = flowroute.exports
    assert export.filter_parameters == {
        "start_call_start_time": "2019-06-25 00:00:00",
        "start_call_end_time": "2019-06-26 00:00:00",
        "direction": "inbound",
    }


def test_callback_url_is_sent(flowroute):
    create(**SAMPLE, callback_url="http://127.0.0.1:9/callback")

    assert flowroute.exports[0].callback_url == "http://127.0.0.1:9/callback"


@pytest.mark.parametrize(
    ("options", "context", "words"),
    [
        ({**SAMPLE, "filter_parameters": SAMPLE}, DAY, ["twice", "one place"]),
        (
            {"start_call_start_time": "2019-06-25"},
            DAY,
            ["window is incomplete", "start_call_end_time", "None"],
        ),
        ({**SAMPLE, "start_call_end_time": "None"}, DAY, ["window is incomplete"]),
        ({}, {}, ["no data interval", "CronDataIntervalTimetable"]),
        (
            {},
            {**DAY, "data_interval_end": DAY["data_interval_start"]},
            ["no data interval", "2026-11-19", 'CronDataIntervalTimetable("@daily", timezone="UTC")'],
        ),
        ({**SAMPLE, "start_call_end_time": "soon"}, DAY, ["start_call_end_time", "soon", "ISO 8601"]),
        ({**SAMPLE, "start_call_end_time": "2019-12-31"}, DAY, ["189 days", "92", "Split"]),
        (
            {"start_call_start_time": "2998-12-31", "start_call_end_time": "2999-01-01"},
            DAY,
            ["future", "2999-01-01"],
        ),
        ({**SAMPLE, "callback_url": "ftp://x"}, DAY, ["callback_url", "ftp://x"]),
        ({**SAMPLE, "filter_parameters": {"direction": "sideways"}}, DAY, ["direction", "sideways"]),
    ],
)
def test_invalid_request_fails_without_retries_or_requests(flowroute, options, context, words):
    with pytest.raises(AirflowFailException) as caught:
        create(context, **options)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert flowroute.exports == []
    assert flowroute.requests == []


def test_refused_keys_fail_without_retries_and_name_the_connection(flowroute):
    flowroute.add_fault("unauthorized", detail="The key has expired.")

    with pytest.raises(AirflowFailException, match=r"(?s)The key has expired.*flowroute_default"):
        create(**SAMPLE)


def test_error_shows_flowroutes_detail_and_error_id(flowroute):
    flowroute.add_fault("forbidden", on="create", detail="Exports are off for this account.")

    with pytest.raises(
        AirflowFailException, match=r"(?s)403.*Exports are off for this account.*error ID .*: \w+-"
    ):
        create(**SAMPLE)


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_wait_times_out_with_a_retryable_error(flowroute):
    with pytest.raises(CdrExportTimeoutError, match=r"not completed in 0\.3 s"):
        create(**SAMPLE, wait_for_completion=True, poke_interval=timedelta(seconds=0.1), timeout=0.3)


def test_failed_export_uses_the_task_retries(flowroute):
    flowroute.add_fault("failed_export")

    with pytest.raises(CdrExportFailedError, match="Create a new export"):
        create(**SAMPLE, wait_for_completion=True)


def test_unknown_status_fails_without_retries(flowroute):
    """It counts neither as completed nor as processing."""
    flowroute.add_fault("unknown_status", status="archived")

    with pytest.raises(AirflowFailException, match="archived"):
        create(**SAMPLE, wait_for_completion=True)


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        ({"status": "failed", "export_id": "1", "message": "It failed."}, CdrExportFailedError, "It failed."),
        ({"status": "timeout", "export_id": "1", "message": "Too late."}, CdrExportTimeoutError, "Too late."),
        ({"status": "error", "export_id": "1", "message": "No keys."}, AirflowFailException, "No keys."),
        ({"status": "completed"}, AirflowFailException, "no usable event"),
        ({"status": "done", "export_id": "1"}, AirflowFailException, "done"),
        (None, AirflowFailException, "no usable event"),
    ],
)
def test_every_event_except_completed_raises(event, error, words):
    with pytest.raises(error, match=words):
        CreateCdrExportOperator(task_id="create").execute_complete({}, event)
