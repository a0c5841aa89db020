"""Has Flowroute build an export."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_flowroute.api.idempotency import create_once, find_export
from airflow_provider_flowroute.cdr.filters import (
    build_filter_parameters,
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
from airflow_provider_flowroute.utils.mixins import FlowrouteHookMixin, fail_without_retry
from airflow_provider_flowroute.utils.task_state import ExportTaskState, PriorRequest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.cdr.export import CdrExport

_NO_INTERVAL = (
    "This run has no data interval to take the window from ({interval}). Give the DAG "
    'schedule=CronDataIntervalTimetable("@daily", timezone="UTC"), whose runs each cover a day (in Airflow 3 '
    'schedule="@daily" covers no time at all), or give the operator start_call_start_time and start_call_end_time.'
)


class CreateCdrExportOperator(FlowrouteHookMixin, BaseOperator):
    """Has Flowroute build an export of the calls that began in a window. Returns the export's id.

    The window is the run's data interval, unless it is given: as ``start_call_start_time`` and
    ``start_call_end_time``, or under these names in ``filter_parameters``. It holds the calls that began at or
    after its start and before its end, UTC, may not end in the future, and may be 92 days long at most.

    A request is sent once. If its answer is lost, or the worker dies, the export is looked for and taken up, by
    the same try or the next; only where there is none is it asked for anew. A task that is cleared asks anew.

    :param start_call_start_time: start of the window: a datetime or ISO 8601 text; naive means UTC. (templated)
    :param start_call_end_time: end of the window, likewise. (templated)
    :param filter_parameters: Flowroute's filters by their own names; None as a value leaves a filter out. A name
        Flowroute's documents do not have is sent all the same, with a warning. (templated)
    :param callback_url: where Flowroute POSTs a note when the export changes. (templated)
    :param durable: take up the export that an earlier try of this task asked for. If False, every try asks
        for a new one.
    :param flowroute_conn_id: the id of the Airflow connection.
    :param wait_for_completion: return only once the export is completed.
    :param deferrable: wait in the triggerer instead of on a worker. Default: the configuration's
        ``[operators] default_deferrable``.
    :param poke_interval: time between looks at the export while waiting: seconds or a timedelta.
    :param timeout: how long to wait at most: seconds or a timedelta. Most exports take under five minutes.
    :raises AirflowFailException: for a window, a filter or keys that no retry can mend.
    """

    template_fields: Sequence[str] = (
        WINDOW_START,
        WINDOW_END,
        "filter_parameters",
        "callback_url",
    )
    template_fields_renderers = {"filter_parameters": "json"}  # noqa: RUF012 - as BaseOperator declares it
    ui_color = "#c4dbf0"
    # So that the UI shows the window that was asked for, where the run's data interval gave it (Airflow 3).
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        start_call_start_time: datetime | str | None = None,
        start_call_end_time: datetime | str | None = None,
        filter_parameters: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
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
        self.durable = durable
        self.flowroute_conn_id = flowroute_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = _seconds(poke_interval)
        self.timeout = _seconds(timeout)

    def execute(self, context: Context) -> str:
        """Create the export, and wait for it if asked to."""
        cycle = ExportTaskState(context)
        with fail_without_retry():
            window, filters = self._resolve(context)
            window.check_exportable(pendulum.now("UTC"))
            callback_url = parse_callback_url(self.callback_url)
            self.log.info("Calls of %s, filters: %s", window, filters or "none")
            request = CdrExportRequest(build_filter_parameters(window, filters), callback_url)
            export = self._create_or_reconnect(request, cycle)
        if self.wait_for_completion:
            with clear_state_if_failed(cycle):
                self._wait(export.id)
        cycle.clear_on_success(self)
        return export.id

    def _create_or_reconnect(self, request: CdrExportRequest, cycle: ExportTaskState) -> CdrExport:
        if not self.durable:
            export = self.client.create_cdr_export(request.filter_parameters, request.callback_url)
            self.log.info("Flowroute is building export %s.", export.id)
            return export
        asked = cycle.load(request.fingerprint)
        if asked is not None and (earlier := self._reconnect(request, asked)) is not None:
            cycle.save(request.fingerprint, asked.since.instant, earlier.id)
            return earlier
        now = pendulum.now("UTC")
        # Before it is sent: the next try then knows that, and from when on, there may be an export.
        cycle.save(request.fingerprint, now)
        try:
            export = create_once(self.client, request)
        except FlowrouteError as e:
            if not e.request_may_have_arrived:
                cycle.clear()
            raise
        cycle.save(request.fingerprint, now, export.id)
        return export

    def _reconnect(self, request: CdrExportRequest, asked: PriorRequest) -> CdrExport | None:
        """The export of an earlier try, if there is one that can still give a file."""
        export = None
        if asked.export_id is not None:
            with suppress(FlowrouteNotFoundError):  # the connection leads to another account by now
                export = self.client.get_cdr_export(asked.export_id)
        if export is None:
            export = find_export(self.client, request, asked.since)
        if export is None:
            self.log.info("No export of an earlier try is in the account's list: asking for one.")
            return None
        if not export.is_usable(pendulum.now("UTC")):
            self.log.info(
                "Export %s of an earlier try is of no use (%s): asking for a new one.",
                export.id,
                export.status_text,
            )
            return None
        self.log.info(
            "Taking up export %s, which an earlier try asked for. It is %s.", export.id, export.status_text
        )
        return export

    def _resolve(self, context: Context) -> tuple[Window, dict[str, Any]]:
        """The window, from the one place it is given in, and the filters."""
        filters, window = parse_filter_parameters(self.filter_parameters)
        start, end = (
            None if value == "None" else value
            for value in (self.start_call_start_time, self.start_call_end_time)
        )
        if start is None and end is None:
            if window is None:
                window = self._data_interval(context)
                self.start_call_start_time, self.start_call_end_time = map(
                    format_instant, (window.start, window.end)
                )
            return window, filters
        if window is not None:
            raise FlowrouteValueError(
                f"The window is given twice: as arguments ({start} .. {end}) and in filter_parameters ({window}). "
                f"Give it in one place."
            )
        if start is None or end is None:
            raise FlowrouteValueError(
                f"Half a window: {WINDOW_START} is {start!r} and {WINDOW_END} is {end!r}. Give both, or neither "
                f"for the run's data interval."
            )
        return Window(start, end), filters  # type: ignore[arg-type]

    def _data_interval(self, context: Context) -> Window:
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        if start is None or end is None:
            raise FlowrouteValueError(
                _NO_INTERVAL.format(interval="made without a logical date, or by an asset")
            )
        if start >= end:
            raise FlowrouteValueError(_NO_INTERVAL.format(interval=f"it is {start} .. {end}"))
        return Window(start, end)

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
                raise CdrExportTimeoutError(f"Export {export_id} was not completed in {self.timeout:g} s.")
            time.sleep(min(self.poke_interval, left))
        self.log.info("Export %s is completed.", export_id)

    def _is_completed(self, export_id: str) -> bool:
        # A failed export is no reason to give up: the next try asks for a new one.
        with fail_without_retry(except_for=CdrExportFailedError):
            return self.client.poll_cdr_export(export_id) is not None

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """Go on after the trigger.

        :param event: the trigger's event.
        """
        cycle = ExportTaskState(context)
        with suppress(FlowrouteValueError):
            self._resolve(context)  # for the UI, which shows the fields as they stand at the end
        with clear_state_if_failed(cycle), fail_without_retry(except_for=CdrExportFailedError):
            export_id = export_id_from_event(event)
        self.log.info("Export %s is completed.", export_id)
        cycle.clear_on_success(self)
        return export_id


@contextmanager
def clear_state_if_failed(cycle: ExportTaskState) -> Iterator[None]:
    """Let the next try ask for a new export if this one fails."""
    try:
        yield
    except CdrExportFailedError:
        cycle.clear()
        raise


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value
