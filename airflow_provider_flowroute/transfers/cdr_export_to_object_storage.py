"""Lands the file of an export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import Asset, BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    CdrExportLandingError,
    CdrExportMismatchError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.landing.publish import publish_atomically
from airflow_provider_flowroute.links.object_storage import LandedFileLink, console_url
from airflow_provider_flowroute.utils.mixins import FlowrouteHookMixin, fail_without_retry
from airflow_provider_flowroute.utils.openlineage import LandingLineage

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.reconciliation import Reconciliation

ON_MISMATCH = ("fail", "warn")


class CdrExportToObjectStorageOperator(FlowrouteHookMixin, BaseOperator):
    """Lands the file of a completed export: proved whole, or not at all.

    The file goes through a temporary place, where it is reconciled with what Flowroute says of the export: gzip intact
    to its end, as many rows as ``num_calls``, the sum of ``total_cost`` equal to the cent's last decimal, every
    ``start_time`` inside the window, no ``cdr_id`` twice. Only then does it take the target's place, in one step:
    whoever reads the target sees the old whole file or the new whole file.

    Returns ``rows``, ``total_cost`` (US dollars, as text), ``billed_minutes`` (as text), ``first_start``,
    ``last_start`` (ISO 8601, UTC), ``bytes``, ``path`` and ``export_id``. The same goes into the ``extra`` of the
    events of the assets in ``outlets``.

    :param export_id: the id of a completed export. (templated)
    :param path: where the file goes: a local path, or any URL of ``ObjectStoragePath`` such as
        ``s3://aws_default@bucket/cdrs/2019-06-25.parquet``. (templated)
    :param file_format: ``parquet`` (typed columns; needs the extra ``parquet``), ``csv`` (inflated) or ``csv.gz``
        (Flowroute's very bytes). Default: by the suffix of ``path``.
    :param on_mismatch: what to do with a whole file that is not what Flowroute says: ``fail``, leaving the target as
        it was, or ``warn``, landing it with a warning.
    :param overwrite: replace what is there; if False, a file that is there already fails the task.
    :param flowroute_conn_id: the id of the Airflow connection.
    :raises CdrExportIntegrityError: the file is not whole; a retry downloads it anew.
    :raises CdrExportMismatchError: the file is not what Flowroute says.
    :raises CdrExportLandingError: the file cannot be written where it should go.
    :raises AirflowFailException: what no retry can mend: an id, a path or a link that cannot be used, or a file whose
        header, rows or values are not of the form they should have (with line and column).
    """

    template_fields: Sequence[str] = ("export_id", "path")
    ui_color = "#b3d4c3"
    operator_extra_links = (LandedFileLink(),)

    def __init__(
        self,
        *,
        export_id: str,
        path: str | ObjectStoragePath,
        file_format: Literal["parquet", "csv", "csv.gz"] | None = None,
        on_mismatch: Literal["fail", "warn"] = "fail",
        overwrite: bool = True,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_mismatch not in ON_MISMATCH:
            raise FlowrouteValueError(f"on_mismatch is {on_mismatch!r}: expected 'fail' or 'warn'.")
        self.export_id = export_id
        self.path = path
        self.file_format = file_format
        self.on_mismatch = on_mismatch
        self.overwrite = overwrite
        self.flowroute_conn_id = flowroute_conn_id
        self._landing: LandingLineage | None = None
        self.landed_file_url = ""

    def execute(self, context: Context) -> dict[str, Any]:
        """Download, prove, publish."""
        self._landing, self.landed_file_url = None, ""  # `dag.test()` makes all tries with one operator
        with fail_without_retry():
            export_id = check_export_id(self.export_id)
            path, file_format = self._target()
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            severity = "error" if self.on_mismatch == "fail" else "warn"
            self._landing = LandingLineage(export, self.client.base_url, path, file_format, severity)
            with self._add_error_context(export), publish_atomically(path) as staged:
                self._landing.result = result = self._stage(export, staged, file_format)
                self._enforce_reconciliation(export, result)
                size = staged.stat().st_size
            self._landing.size = size
        landed = {**result.figures.as_json(), "bytes": size, "path": str(self.path), "export_id": export.id}
        self.log.info(
            "Landed export %s: %s, %s billed minutes, %s USD, %s at %s.",
            export.id,
            pluralize(result.figures.rows, "call"),
            landed["billed_minutes"],
            landed["total_cost"],
            pluralize(size, "byte"),
            landed["path"],
        )
        self._add_asset_event_extra(context, landed)
        self.landed_file_url = console_url(path)
        self.operator_extra_links[0].persist(context, self.landed_file_url)
        return landed

    def _target(self) -> tuple[ObjectStoragePath, str]:
        from airflow_provider_flowroute.landing.pipeline import FORMATS, check_format

        text = str(self.path)
        by_suffix = next((each for each in FORMATS if text.endswith(f".{each}")), None)
        file_format = self.file_format or by_suffix
        if file_format is None or text in ("", "None") or text.endswith(("/", f"/.{by_suffix}")):
            raise FlowrouteValueError(
                f"path is {text!r}: it must name a file that ends in .{', .'.join(FORMATS)}, for that decides its "
                f"form, or any other file if file_format is given."
            )
        check_format(file_format)
        try:
            path = ObjectStoragePath(self.path)
            _ = path.fs
        except (
            ValueError,
            ImportError,
        ) as e:  # an unknown scheme; a known one whose library is not installed
            raise FlowrouteValueError(
                f"path is {text!r}, for which this Airflow has no file system ({e}). Install the provider that brings "
                f"it, such as apache-airflow-providers-amazon[s3fs] for s3://."
            ) from None
        if not self.overwrite and path.exists():
            raise FlowrouteValueError(
                f"{text} is there already, and overwrite is False: nothing was downloaded. Remove it, or choose "
                f"another path."
            )
        return path, file_format

    def _stage(self, export: CdrExport, staged: Path, file_format: str) -> Reconciliation:
        from airflow_provider_flowroute.landing.pipeline import stage

        with self.client.open_cdr_export(export) as download:
            return stage(export, download, staged, file_format)

    @contextmanager
    def _add_error_context(self, export: CdrExport) -> Iterator[None]:
        """Say of which export and file an error is, and that nothing is lost."""
        try:
            yield
        except (CdrExportIntegrityError, CdrExportFormatError) as e:
            raise type(e)(
                f"The file of export {export.id} cannot be landed: {str(e).rstrip('.')}. {self.path} was left as it "
                f"was."
            ) from None
        except OSError as e:
            raise CdrExportLandingError(
                f"Export {export.id} cannot be written to {self.path}: {e}. It was left as it was. Look for space, "
                f"permissions and the bucket's name; what is not local passes through {tempfile.gettempdir()} first."
            ) from e

    def _enforce_reconciliation(self, export: CdrExport, result: Reconciliation) -> None:
        """Log what was compared, and stop what does not agree.

        :raises CdrExportMismatchError: unless mismatches are to be warned of only.
        """
        tell = self.log.warning if result.has_unchecked else self.log.info
        tell("Reconciliation of export %s: %s.", export.id, "; ".join(map(str, result.checks)))
        if not result.mismatches:
            return
        wrong = "; ".join(map(str, result.mismatches))
        if self.on_mismatch == "fail":
            raise CdrExportMismatchError(f"it has {wrong}")
        self.log.warning("Export %s is landed although it has %s: on_mismatch is 'warn'.", export.id, wrong)

    def _add_asset_event_extra(self, context: Context, landed: dict[str, Any]) -> None:
        """Put the figures into the events of the assets that the user declared as outlets."""
        events = context.get("outlet_events")
        if events is None:
            return
        for asset in self.outlets:
            if isinstance(asset, Asset):
                events[asset].extra.update(landed)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """What OpenLineage is told, where its provider is installed: of a landing that failed, too."""
        return self._landing.openlineage() if self._landing is not None else None
