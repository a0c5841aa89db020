"""Delay the next try of a task as long as Flowroute's ``Retry-After`` header requests, on Airflow 3.3 and later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_flowroute.exceptions import FlowrouteAPIError

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow before 3.3
    RetryDecision = RetryPolicy = object  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import BaseOperator

#: The longest delay that a ``Retry-After`` header can cause.
MAX_DELAY = timedelta(hours=1)


class RetryAfterPolicy(RetryPolicy):
    """Delay the next try as ``Retry-After`` requests, if that is longer than the task's own ``retry_delay``."""

    @classmethod
    def add_to(cls, operator: BaseOperator) -> None:
        """Set this policy on an operator, unless the user set one or this version of Airflow has none.

        :param operator: the operator, after ``BaseOperator.__init__``.
        """
        if RetryPolicy is not object and operator.retry_policy is None:
            operator.retry_policy = cls()

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Mapping[str, Any] | None = None,
    ) -> RetryDecision:
        """Return the delay for the next try.

        :param exception: the error of this try.
        """
        seconds = exception.retry_after if isinstance(exception, FlowrouteAPIError) else None
        own = context["ti"].task.retry_delay.total_seconds() if context else 0
        if seconds is None or not min(seconds, MAX_DELAY.total_seconds()) > own:
            return RetryDecision.default()
        delay = timedelta(seconds=min(seconds, MAX_DELAY.total_seconds()))
        return RetryDecision.retry(delay, f"Flowroute requests a delay of {seconds:g} s (Retry-After).")
