"""Create CDR exports."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_flowroute.api.idempotency import create_once, find_export
from airflow_provider_flowroute.cdr.filters import (
    build_filter_parameters,
    describe_filters,
    parse_callback_url,
    parse_filter_parameters,
)
from airflow_provider_flowroute.cdr.request import CdrExportRequest
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, Window, format_instant
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.cdr_export import (
    DEFERRAL_GRACE,
    CdrExportTrigger,
    export_id_from_event,
)
from airflow_provider_flowroute.utils.callback_urls import check_callback, plugin_callback_url
from airflow_provider_flowroute.utils.metrics import Metric, count, record_wait
from airflow_provider_flowroute.utils.mixins import (
    FlowrouteHookMixin,
    closes_connections,
    fail_without_retry,
    is_literal,
)
from airflow_provider_flowroute.utils.retry_policy import RetryAfterPolicy
from airflow_provider_flowroute.utils.task_state import ExportTaskState, PriorRequest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.cdr.export import CdrExport


class CreateCdrExportOperator(FlowrouteHookMixin, BaseOperator):
    """Create a CDR export for a time window and return its ID.

    The export holds the calls that start at or after the window's start and before its end, in UTC. By default, the
    window is the DAG run's data interval. Otherwise, pass ``start_call_start_time`` and ``start_call_end_time``, or
    add these two names to ``filter_parameters``. A window ends in the past and has at most 92 days.

    The operator sends a request once. If Flowroute's reply is lost or the worker dies, this try or the next one
    searches the account for the export and resumes it, and creates a new export only if there is none. A task that
    is cleared creates a new export. On Airflow 3.3 and later, the next try after a 429 waits as long as Flowroute's
    ``Retry-After`` header requests, at most one hour.

    :param start_call_start_time: start of the window: a datetime or ISO 8601 text; naive means UTC. (templated)
    :param start_call_end_time: end of the window, in the same formats. (templated)
    :param filter_parameters: Flowroute's filters by name; the value None omits a filter. (templated)
    :param callback_url: URL to which Flowroute POSTs a callback when the export changes. (templated)
    :param callback: ``"plugin"``: the plugin of this package receives the callback, so that watchers of the connection
        report the export at once. It needs Airflow 3.3 and ``callback_secret`` in the extra of the connection.
    :param allow_unknown_filters: send a filter that Flowroute does not document, with a warning. If False, it fails
        the task, because Flowroute may ignore it and export every call.
    :param durable: resume the export that an earlier try of this task requested. If False, every try requests a new
        export.
    :param flowroute_conn_id: ID of the Airflow connection. (templated)
    :param wait_for_completion: return only when the export is completed.
    :param deferrable: wait in the triggerer instead of on a worker. Default: ``[operators] default_deferrable`` of
        the Airflow configuration.
    :param poke_interval: time between polls while waiting: seconds or a timedelta.
    :param timeout: maximum time to wait: seconds or a timedelta. Most exports take less than five minutes.
    :raises AirflowFailException: for an invalid window or filter, refused keys, or another permanent error.
    :raises CdrExportFailedError: if Flowroute fails the export; a retry creates a new one.
    :raises CdrExportTimeoutError: if the export is not completed within ``timeout``; a retry resumes it.
    """

    template_fields: Sequence[str] = (
        WINDOW_START,
        WINDOW_END,
        "filter_parameters",
        "callback_url",
        "flowroute_conn_id",
    )
    template_fields_renderers = {"filter_parameters": "json"}  # noqa: RUF012 - as BaseOperator declares it
    ui_color = "#c4dbf0"
    # On Airflow 3, the UI then shows the window that comes from the DAG run's data interval.
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        start_call_start_time: datetime | str | None = None,
        start_call_end_time: datetime | str | None = None,
        filter_parameters: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        callback: Literal["plugin"] | None = None,
        allow_unknown_filters: bool = False,
        durable: bool = True,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 60,
        timeout: float | timedelta = timedelta(hours=6),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start_call_start_time = start_call_start_time
        self.start_call_end_time = start_call_end_time
        self.filter_parameters = filter_parameters
        self.callback_url = callback_url
        self.callback = callback
        self.allow_unknown_filters = allow_unknown_filters
        self.durable = durable
        self.flowroute_conn_id = flowroute_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        # Permanent errors also here, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            self.poke_interval = _seconds("poke_interval", poke_interval)
            self.timeout = _seconds("timeout", timeout)
            self._check_literals()
        RetryAfterPolicy.add_to(self)

    @closes_connections
    def execute(self, context: Context) -> str:
        """Create the export, and wait for it with ``wait_for_completion``."""
        state = ExportTaskState(context)
        with fail_without_retry():
            window, filters = self._resolve(context)
            window.check_exportable(pendulum.now("UTC"))
            callback_url = self._callback_url(context)
            self.log.info("Requesting the calls of %s (filters: %s).", window, describe_filters(filters))
            request = CdrExportRequest(build_filter_parameters(window, filters), callback_url)
            export = self._create_or_reconnect(request, state)
        if self.wait_for_completion:
            with clear_state_if_failed(state):
                self._wait(export.id)
            record_wait(context, self.metric_tags)
        state.clear_on_success(self)
        return export.id

    def _callback_url(self, context: Context) -> str | None:
        """Return the callback URL. That of the plugin is a secret, so no template field has it."""
        if self.callback is None:
            return parse_callback_url(self.callback_url)
        return plugin_callback_url(self.flowroute_conn_id, self.hook.get_callback_secret(), context["ti"])

    def _create_or_reconnect(self, request: CdrExportRequest, state: ExportTaskState) -> CdrExport:
        if not self.durable:
            export = self.client.create_cdr_export(request.filter_parameters, request.callback_url)
            count(Metric.EXPORTS_CREATED, self.metric_tags)
            self.log.info("Created export %s.", export.id)
            return export
        prior = state.load(request.fingerprint)
        if prior is not None and (export_of_prior := self._reconnect(request, prior)) is not None:
            state.save(request.fingerprint, prior.since.instant, export_of_prior.id)
            return export_of_prior
        now = pendulum.now("UTC")
        # Saved before the request is sent, so that the next try knows that an export may exist.
        state.save(request.fingerprint, now)
        try:
            export = create_once(self.client, request)
        except FlowrouteError as e:
            if not e.request_may_have_arrived:
                state.clear()
            raise
        count(Metric.EXPORTS_CREATED, self.metric_tags)
        state.save(request.fingerprint, now, export.id)
        return export

    def _reconnect(self, request: CdrExportRequest, prior: PriorRequest) -> CdrExport | None:
        """Return the export of an earlier try if it has, or may still get, a file."""
        export = None
        if prior.export_id is not None:
            with suppress(FlowrouteNotFoundError):  # the connection now belongs to another account
                export = self.client.get_cdr_export(prior.export_id)
        if export is None:
            export = find_export(self.client, request, prior.since)
        if export is None:
            self.log.info("The account has no export from an earlier try. Creating a new one.")
            return None
        if not export.is_usable(pendulum.now("UTC")):
            self.log.info(
                "Export %s from an earlier try cannot be reused (status: %s). Creating a new one.",
                export.id,
                export.status_text,
            )
            return None
        count(Metric.EXPORTS_RESUMED, self.metric_tags)
        self.log.info("Resuming export %s from an earlier try (status: %s).", export.id, export.status_text)
        return export

    def _check_literals(self) -> None:
        """Check what has no template, so that a mistake breaks the DAG import and not a DAG run."""
        if is_literal(self.callback_url):
            parse_callback_url(self.callback_url)
        check_callback(self.callback, self.callback_url)
        filters = self.filter_parameters
        if is_literal([self.start_call_start_time, self.start_call_end_time, filters]):
            window, _ = self._parse()
            if window is not None:
                window.check_exportable(window.end)  # checks the length: the clock belongs to a DAG run
        elif isinstance(filters, Mapping):
            names = [name for name in filters if name not in (WINDOW_START, WINDOW_END)]
            literals = {name: filters[name] for name in names if is_literal(filters[name])}
            parse_filter_parameters(literals, self.allow_unknown_filters)

    def _resolve(self, context: Context) -> tuple[Window, dict[str, Any]]:
        """Return the window, by default the data interval, and the filters."""
        window, filters = self._parse()
        if window is None:
            window = _data_interval(context)
            self.start_call_start_time, self.start_call_end_time = map(
                format_instant, (window.start, window.end)
            )
        return window, filters

    def _parse(self) -> tuple[Window | None, dict[str, Any]]:
        """Return the window, from the one place that gives it, and the filters."""
        filters, window = parse_filter_parameters(self.filter_parameters, self.allow_unknown_filters)
        start, end = (
            None if value == "None" else value
            for value in (self.start_call_start_time, self.start_call_end_time)
        )
        if start is None and end is None:
            return window, filters
        if window is not None:
            raise FlowrouteValueError(
                f"The export's window is given twice.\n"
                f"The arguments give {start} .. {end}, and filter_parameters gives {window}.\n"
                f"Give the window in one place."
            )
        if start is None or end is None:
            raise FlowrouteValueError(
                f"The export's window is incomplete.\n"
                f"{WINDOW_START} is {start!r} and {WINDOW_END} is {end!r}.\n"
                f"Give both, or neither to use the DAG run's data interval."
            )
        return Window(start, end), filters  # type: ignore[arg-type]

    def _wait(self, export_id: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not self._is_completed(export_id):
            if self.deferrable:
                self.defer(
                    trigger=CdrExportTrigger.starting_now(
                        export_id,
                        flowroute_conn_id=self.flowroute_conn_id,
                        poke_interval=self.poke_interval,
                        timeout=self.timeout,
                    ),
                    method_name="execute_complete",
                    timeout=timedelta(seconds=self.timeout) + DEFERRAL_GRACE,
                )
            left = deadline - time.monotonic()
            if left <= 0:
                raise CdrExportTimeoutError(
                    f"Export {export_id} was not completed in {self.timeout:g} s.\n"
                    f"Flowroute may still complete it: a retry of this task resumes the export.\n"
                    f"Set a longer timeout if this happens often."
                )
            self.log.info("Next poll in %g seconds.", min(self.poke_interval, left))
            time.sleep(min(self.poke_interval, left))
        self.log.info("Export %s is completed.", export_id)

    def _is_completed(self, export_id: str) -> bool:
        # A failed export does not end the task, because the next try creates a new one.
        with fail_without_retry(except_for=CdrExportFailedError):
            return self.client.poll_cdr_export(export_id) is not None

    @closes_connections
    def execute_complete(self, context: Context, event: Any = None) -> str:
        """Return the export's ID after the trigger has fired.

        :param event: event of the trigger.
        """
        state = ExportTaskState(context)
        with suppress(FlowrouteValueError):
            self._resolve(context)  # the UI shows the fields as they are now
        with clear_state_if_failed(state), fail_without_retry(except_for=CdrExportFailedError):
            export_id = export_id_from_event(event)
        self.log.info("Export %s is completed.", export_id)
        record_wait(context, self.metric_tags)
        state.clear_on_success(self)
        return export_id


@contextmanager
def clear_state_if_failed(state: ExportTaskState) -> Iterator[None]:
    """Let the next try create a new export if Flowroute fails this one."""
    try:
        yield
    except CdrExportFailedError:
        state.clear()
        raise


def _data_interval(context: Context) -> Window:
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is not None and end is not None and start < end:
        return Window(start, end)
    if start is None or end is None:
        cause = "The run was created without a logical date or by an asset."
    else:
        cause = f"Its data interval {start} .. {end} is empty."
    raise FlowrouteValueError(
        f"This DAG run has no data interval for the export's window.\n"
        f'{cause} In Airflow 3, schedule="@daily" covers no time.\n'
        f'Set schedule=CronDataIntervalTimetable("@daily", timezone="UTC") on the DAG, whose runs each cover a day, '
        f"or pass {WINDOW_START} and {WINDOW_END} to the operator."
    )


def _seconds(name: str, value: float | timedelta) -> float:
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        duration = None
    if duration is None or duration < timedelta() or isinstance(value, bool):
        raise FlowrouteValueError(
            f"{name} is not a duration.\n"
            f"It is {value!r} ({type(value).__name__}).\n"
            f"Give seconds or a timedelta, such as timedelta(hours=1). It cannot be a template."
        )
    return duration.total_seconds()
