"""``Retry-After`` of a 429 delays the next try of a task."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_flowroute.exceptions import FlowrouteError, FlowrouteRateLimitError
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.utils.retry_policy import RetryAfterPolicy

try:
    from airflow.providers.common.compat.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision
except ImportError:
    pytest.skip("Airflow has no retry policies before 3.3", allow_module_level=True)

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def decide(error: Exception, retry_delay: float = 300, context: bool = True) -> RetryDecision:
    ti = SimpleNamespace(task=SimpleNamespace(retry_delay=timedelta(seconds=retry_delay)))
    return RetryAfterPolicy().evaluate(error, 1, 2, {"ti": ti} if context else None)


def rate_limit(retry_after: float | None) -> FlowrouteRateLimitError:
    return FlowrouteRateLimitError("Too many requests.", status_code=429, retry_after=retry_after)


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [(301, 301), (1800.5, 1800.5), (3600, 3600), (86400, 3600), (1e300, 3600), (float("inf"), 3600)],
)
def test_retry_after_delays_the_next_try_up_to_an_hour(retry_after: float, delay: float):
    decision = decide(rate_limit(retry_after))

    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=delay))
    assert f"{retry_after:g} s" in (decision.reason or "")


@pytest.mark.parametrize(
    "error",
    [*map(rate_limit, (None, 0, -5, 300, float("nan"))), FlowrouteError("another error"), KeyError("x")],
)
def test_other_errors_and_shorter_delays_use_the_tasks_own_delay(error: Exception):
    assert decide(error) == RetryDecision.default()


def test_decision_needs_no_context():
    assert decide(rate_limit(1), context=False).retry_delay == timedelta(seconds=1)


def test_operator_has_the_policy_unless_the_user_sets_one():
    own = ExceptionRetryPolicy(rules=[])

    assert isinstance(CreateCdrExportOperator(task_id="create").retry_policy, RetryAfterPolicy)
    assert CreateCdrExportOperator(task_id="create", retry_policy=own).retry_policy is own


def test_rate_limited_create_reaches_the_policy(flowroute: FlowrouteSimulator):
    flowroute.add_fault("rate_limit", on="create", retry_after=1200)
    operator: Any = CreateCdrExportOperator(task_id="create", **SAMPLE)

    with pytest.raises(FlowrouteRateLimitError) as caught:
        operator.execute({})

    assert operator.retry_policy.evaluate(caught.value, 1, 1).retry_delay == timedelta(seconds=1200)
