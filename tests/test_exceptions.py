"""The errors' hierarchy is what users catch, and what decides whether a retry is worth it."""

from __future__ import annotations

import inspect

import pytest

from airflow_provider_flowroute import exceptions
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    CdrExportFailedError,
    CdrExportIntegrityError,
    CdrExportNotCompletedError,
    CdrExportTimeoutError,
    CdrExportUnknownStatusError,
    FlowrouteAPIError,
    FlowrouteAuthenticationError,
    FlowrouteConnectionConfigError,
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteRequestError,
    FlowrouteServerError,
    FlowrouteUnexpectedResponseError,
    FlowrouteUnreachableError,
    FlowrouteValueError,
)

ALL = [
    each
    for _, each in inspect.getmembers(exceptions, inspect.isclass)
    if each.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_can_be_caught_as_one_of_this_package(error: type[Exception]):
    assert issubclass(error, FlowrouteError)
    assert error.__doc__


@pytest.mark.parametrize("error", [FlowrouteValueError, FlowrouteConnectionConfigError])
def test_a_wrong_value_can_be_caught_as_a_value_error_too(error: type[Exception]):
    assert issubclass(error, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        FlowrouteRateLimitError("slow", status_code=429),
        FlowrouteServerError("broken", status_code=503),
        FlowrouteUnreachableError("gone"),
        FlowrouteUnexpectedResponseError("a web page", transient=True),
        CdrExportNotCompletedError("wait"),
        CdrExportTimeoutError("waited"),
        CdrExportDownloadError("cut"),
        CdrExportIntegrityError("half"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_transient(error: FlowrouteError):
    assert error.transient


@pytest.mark.parametrize(
    "error",
    [
        FlowrouteError("any"),
        FlowrouteValueError("window"),
        FlowrouteConnectionConfigError("host"),
        FlowrouteAuthenticationError("keys", status_code=401),
        FlowroutePermissionError("no", status_code=403),
        FlowrouteNotFoundError("none", status_code=404),
        FlowrouteRequestError("filters", status_code=422),
        FlowrouteUnexpectedResponseError("shape"),
        CdrExportFailedError("failed"),
        CdrExportUnknownStatusError("archived"),
        CdrExportDownloadError("refused", transient=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_no_retry_can_mend_is_not_transient(error: FlowrouteError):
    assert not error.transient


def test_a_lost_answer_counts_as_arrived_unless_it_provably_did_not():
    assert FlowrouteUnreachableError("gone").request_may_have_arrived
    assert not FlowrouteUnreachableError("refused", request_may_have_arrived=False).request_may_have_arrived


def test_an_error_of_the_api_carries_what_flowroute_said():
    error = FlowrouteAPIError(
        "the sentence", status_code=422, detail="words", error_id="f3a3", retry_after=7.0
    )

    assert str(error) == "the sentence"
    assert (error.status_code, error.detail, error.error_id, error.retry_after) == (422, "words", "f3a3", 7.0)
