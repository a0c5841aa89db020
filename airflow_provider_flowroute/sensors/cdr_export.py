"""Wait for CDR exports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_flowroute.cdr.export import CdrExport, check_export_id, pluralize
from airflow_provider_flowroute.exceptions import CdrExportTimeoutError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.cdr_export import (
    DEFERRAL_GRACE,
    CdrExportTrigger,
    export_id_from_event,
)
from airflow_provider_flowroute.utils.metrics import record_wait
from airflow_provider_flowroute.utils.mixins import (
    FlowrouteHookMixin,
    closes_connections,
    fail_without_retry,
    is_literal,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CdrExportSensor(FlowrouteHookMixin, BaseSensorOperator):
    """Wait until a CDR export is completed and return its summary.

    The summary has ``id``, ``status``, ``window``, ``num_calls``, ``total_cost``, ``billed_minutes``, ``fees`` and
    ``expires_at``. Amounts are text, so that they stay exact. The summary never has the download link.

    A permanent error fails the task without using its retries: a failed export, an unknown ID, refused keys, or a
    status that this package does not know. After a transient error (no connection, 429, 5xx), the sensor pokes again.

    ``poke_interval``, ``timeout``, ``soft_fail`` and ``mode`` have the same meaning as in every sensor, also when
    the sensor is deferrable.

    :param export_id: ID of the export, as CreateCdrExportOperator returns it. (templated)
    :param flowroute_conn_id: ID of the Airflow connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker; ``mode`` then has no effect. Default:
        ``[operators] default_deferrable`` of the Airflow configuration.
    :raises AirflowFailException: for a permanent error.
    :raises AirflowSensorTimeout: if the export is not completed within ``timeout``.
    """

    template_fields: Sequence[str] = ("export_id", "flowroute_conn_id")
    ui_color = "#d9e8f6"

    def __init__(
        self,
        *,
        export_id: str,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_id = export_id
        self.flowroute_conn_id = flowroute_conn_id
        self.deferrable = deferrable
        #: The export's window once the export is completed, for ``map_index_template="{{ task.window }}"``.
        self.window = ""
        if is_literal(export_id):
            with fail_without_retry():
                check_export_id(export_id)

    @closes_connections
    def execute(self, context: Context) -> Any:
        """Poke once, then defer if the sensor is deferrable and the export is not completed."""
        if not self.deferrable:
            return super().execute(context)
        try:
            poked = self.poke(context)
        except AirflowFailException as e:
            if self.soft_fail or self.never_fail:  # as in the modes of BaseSensorOperator
                raise AirflowSkipException(f"Skipping due to soft_fail or never_fail.\n{e}") from None
            raise
        if isinstance(poked, PokeReturnValue):
            return poked.xcom_value
        self.defer(
            trigger=CdrExportTrigger.starting_now(
                self.export_id,
                flowroute_conn_id=self.flowroute_conn_id,
                poke_interval=self.poke_interval,
                timeout=self.timeout,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + DEFERRAL_GRACE,
        )
        return None

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Poll the export once.

        :return: False, or a ``PokeReturnValue`` with the summary when the export is completed.
        :raises AirflowFailException: for a permanent error.
        """
        with fail_without_retry():
            self.export_id = check_export_id(self.export_id)
            export = self.client.poll_cdr_export(self.export_id)
        if export is None:
            if not self.deferrable:
                self.log.info("Next poke in %g seconds.", self.poke_interval)
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._summary(export, context))

    @closes_connections
    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Return the summary after the trigger has fired, read from Flowroute.

        :param event: event of the trigger.
        :raises AirflowSensorTimeout: if the export was not completed within ``timeout``.
        :raises AirflowFailException: for a permanent error.
        """
        try:
            with fail_without_retry():
                export_id = export_id_from_event(event)
                export = self.client.get_cdr_export(export_id)
                export.check_completed()
        except CdrExportTimeoutError as e:
            raise AirflowSensorTimeout(str(e)) from None
        return self._summary(export, context)

    def _summary(self, export: CdrExport, context: Context) -> dict[str, Any]:
        record_wait(context, self.metric_tags)
        self.log.info(
            "Export %s is completed: %s, %s billed minutes, %s USD.",
            export.id,
            pluralize(export.num_calls, "call"),
            export.billed_minutes,
            export.total_cost,
        )
        self.window = str(export.window or "")
        return export.summary()
