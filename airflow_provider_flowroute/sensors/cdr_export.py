"""Waits until an export is completed."""

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
from airflow_provider_flowroute.utils.mixins import FlowrouteHookMixin, fail_without_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CdrExportSensor(FlowrouteHookMixin, BaseSensorOperator):
    """Waits until a CDR export is completed, then pushes its summary.

    The summary has ``id``, ``status``, ``window``, ``num_calls``, ``total_cost``, ``billed_minutes``, ``fees``
    and ``expires_at``; amounts are text, so that they stay exact. It never has the download link.

    A failed export, an unknown id, refused keys and a status this package does not know end the task at once,
    without using up its retries. A lost connection, 429 or 5xx is waited out.

    ``poke_interval``, ``timeout``, ``soft_fail`` and ``mode`` mean what they mean in every sensor, whether or
    not it is deferrable.

    :param export_id: the export's id, as CreateCdrExportOperator returns it. (templated)
    :param flowroute_conn_id: the id of the Airflow connection.
    :param deferrable: wait in the triggerer instead of on a worker; ``mode`` is then without meaning. Default: the
        configuration's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("export_id",)
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

    def execute(self, context: Context) -> Any:
        """Look; then wait in the way the sensor was asked to."""
        if not self.deferrable:
            return super().execute(context)
        try:
            found = self.poke(context)
        except AirflowFailException as e:
            if self.soft_fail or self.never_fail:  # as BaseSensorOperator does in its own modes
                raise AirflowSkipException(f"Skipped, not failed, as the sensor was asked to: {e}") from e
            raise
        if isinstance(found, PokeReturnValue):
            return found.xcom_value
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
        """One look.

        :raises AirflowFailException: for what no waiting can mend.
        """
        with fail_without_retry():
            self.export_id = check_export_id(self.export_id)
            export = self.client.poll_cdr_export(self.export_id)
        if export is None:
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._summary(export))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on after the trigger: take its word for a failure, ask Flowroute for the figures of a success.

        :param event: the trigger's event.
        :raises AirflowSensorTimeout: the time was over.
        :raises AirflowFailException: for what no waiting can mend.
        """
        try:
            with fail_without_retry():
                export_id = export_id_from_event(event)
                export = self.client.get_cdr_export(export_id)
                export.check_completed()
        except CdrExportTimeoutError as e:
            raise AirflowSensorTimeout(str(e)) from e
        return self._summary(export)

    def _summary(self, export: CdrExport) -> dict[str, Any]:
        self.log.info(
            "Export %s is completed: %s, %s billed minutes, %s USD.",
            export.id,
            pluralize(export.num_calls, "call"),
            export.billed_minutes,
            export.total_cost,
        )
        return export.summary()
