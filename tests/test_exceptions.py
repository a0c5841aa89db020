"""The error hierarchy: users catch these classes, and ``transient`` decides whether a task is retried."""

from __future__ import annotations

import inspect
import re

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
    error
    for _, error in inspect.getmembers(exceptions, inspect.isclass)
    if error.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_a_flowroute_error(error: type[Exception]):
    assert issubclass(error, FlowrouteError)
    assert error.__doc__


def test_module_docstring_draws_the_hierarchy():
    """Each class is on its own line of the tree, indented by its depth."""
    lines = re.findall(r"(?m)^    ([│├└─ ]*)(\w+Error)\b", exceptions.__doc__ or "")
    assert {name: len(indent) // 4 for indent, name in lines} == {
        error.__name__: error.__mro__.index(FlowrouteError) for error in ALL
    }


@pytest.mark.parametrize("error", [FlowrouteValueError, FlowrouteConnectionConfigError])
def test_invalid_value_is_also_a_value_error(error: type[Exception]):
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
def test_error_that_a_retry_can_fix_is_transient(error: FlowrouteError):
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
def test_error_that_no_retry_can_fix_is_permanent(error: FlowrouteError):
    assert not error.transient


def test_lost_answer_means_the_request_may_have_arrived():
    assert FlowrouteUnreachableError("gone").request_may_have_arrived
    assert not FlowrouteUnreachableError("refused", request_may_have_arrived=False).request_may_have_arrived


def test_api_error_has_the_details_of_the_answer():
    error = FlowrouteAPIError(
        "the sentence", status_code=422, detail="words", error_id="f3a3", retry_after=7.0
    )

    assert str(error) == "the sentence"
    assert (error.status_code, error.detail, error.error_id, error.retry_after) == (422, "words", "f3a3", 7.0)
