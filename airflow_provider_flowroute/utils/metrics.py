"""Metrics of exports, landings and polls, sent with Airflow's own ``Stats``: StatsD, Datadog or OpenTelemetry.

docs/metrics.md describes each metric.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    FlowrouteError,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.landing.reconciliation import Totals

log = logging.getLogger(__name__)


class Metric(StrEnum):
    """The names of all metrics. Airflow adds its ``[metrics] statsd_prefix``, by default ``airflow``."""

    EXPORTS_CREATED = "flowroute.exports.created"
    EXPORTS_RESUMED = "flowroute.exports.resumed"
    EXPORTS_FAILED = "flowroute.exports.failed"
    EXPORTS_TIMED_OUT = "flowroute.exports.timed_out"
    EXPORTS_WAIT_DURATION = "flowroute.exports.wait_duration"
    LANDED_EXPORTS = "flowroute.landed.exports"
    LANDED_ROWS = "flowroute.landed.rows"
    LANDED_BYTES = "flowroute.landed.bytes"
    LANDED_COST = "flowroute.landed.cost"
    RECONCILIATION_FAILURES = "flowroute.reconciliation.failures"
    ERRORS = "flowroute.errors"
    POLLER_REQUESTS = "flowroute.poller.requests"
    POLLER_PAUSES = "flowroute.poller.pauses"
    POLLER_SIZE = "flowroute.poller.size"


def count(metric: Metric, tags: Mapping[str, str], value: float = 1) -> None:
    """Increment a counter.

    :param metric: the counter.
    :param tags: tags by name. StatsD gets them with ``[metrics] statsd_influxdb_enabled``.
    :param value: the increment.
    """
    _send("incr", metric, value, tags)


def gauge(metric: Metric, tags: Mapping[str, str], value: float) -> None:
    """Set a gauge of this process. It has the tag ``hostname``, as the gauges of Airflow's triggerer do.

    :param metric: the gauge.
    :param tags: tags by name.
    :param value: the value.
    """
    _send("gauge", metric, value, {**tags, "hostname": socket.gethostname()})


def count_landing(totals: Iterable[Totals], size: int, tags: Mapping[str, str]) -> None:
    """Count a landed export, and its rows, bytes and cost.

    :param totals: the totals of the published files.
    :param size: the published bytes.
    :param tags: tags by name.
    """
    parts = list(totals)
    count(Metric.LANDED_EXPORTS, tags)
    count(Metric.LANDED_ROWS, tags, sum(part.rows for part in parts))
    count(Metric.LANDED_BYTES, tags, size)
    count(Metric.LANDED_COST, tags, float(sum(part.total_cost or 0 for part in parts)))


def record_wait(context: Context, tags: Mapping[str, str]) -> None:
    """Record how long a task has waited for its export, from the start of its try.

    :param context: the context of the task.
    :param tags: tags by name.
    """
    started_at = getattr(context.get("ti"), "start_date", None)
    if isinstance(started_at, datetime):
        waited: timedelta = datetime.now(UTC) - started_at
        _send("timing", Metric.EXPORTS_WAIT_DURATION, waited, tags)


def count_error(error: BaseException, tags: Mapping[str, str]) -> None:
    """Count the error of this package that ends a task's try.

    :param error: the error, or an exception of Airflow that was raised because of it.
    :param tags: tags by name.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FlowrouteError | AirflowSensorTimeout):
        cause = cause.__context__
    if cause is None:
        return
    count(Metric.ERRORS, {**tags, "error": type(cause).__name__})
    if isinstance(cause, CdrExportFailedError):
        count(Metric.EXPORTS_FAILED, tags)
    elif isinstance(cause, CdrExportTimeoutError | AirflowSensorTimeout):
        count(Metric.EXPORTS_TIMED_OUT, tags)


def _send(method: str, metric: Metric, value: float | timedelta, tags: Mapping[str, Any]) -> None:
    from airflow.providers.common.compat.sdk import Stats

    try:
        getattr(Stats, method)(metric.value, value, tags=dict(tags))
    # Everything, because the configured client may be the user's own, and no metric may fail a task.
    except Exception as e:  # noqa: BLE001
        log.warning("Airflow could not send the metric %s.\n%s: %s", metric, type(e).__name__, e)
