"""Lands the file of an export."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id
from airflow_provider_flowroute.cdr.records import RowCounter, Tee, inflate
from airflow_provider_flowroute.exceptions import CdrExportIntegrityError, FlowrouteValueError
from airflow_provider_flowroute.hooks.flowroute import (
    FlowrouteHook,
    UsesFlowroute,
    no_retry_for_permanent_errors,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.cdr.export import CdrExport

#: By the path's suffix, longest first.
FORMATS = (".csv.gz", ".csv")


class CdrExportToObjectStorageOperator(UsesFlowroute, BaseOperator):
    """Lands the file of a completed export: all of it, or nothing.

    The file goes through a temporary place, where its gzip is checked to the end and its rows are compared
    with the export's ``num_calls``. Only then does it take the target's place, in one step: whoever reads the
    target sees the old whole file or the new whole file.

    Returns ``{"path", "rows", "bytes", "export_id"}``.

    :param export_id: the id of a completed export. (templated)
    :param path: where the file goes: a local path, or any URL of ``ObjectStoragePath`` such as
        ``s3://aws_default@bucket/cdrs/2019-06-25.csv.gz``. The suffix decides: ``.csv.gz`` keeps Flowroute's very
        bytes, ``.csv`` is inflated. (templated)
    :param overwrite: replace what is there; if False, a file that is there already fails the task.
    :param flowroute_conn_id: the id of the Airflow connection.
    :raises CdrExportIntegrityError: the file is not whole, or not what the export says; a retry downloads anew.
    """

    template_fields: Sequence[str] = ("export_id", "path")
    ui_color = "#b3d4c3"

    def __init__(
        self,
        *,
        export_id: str,
        path: str | ObjectStoragePath,
        overwrite: bool = True,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_id = export_id
        self.path = path
        self.overwrite = overwrite
        self.flowroute_conn_id = flowroute_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Download, check, publish."""
        with no_retry_for_permanent_errors():
            export_id = check_export_id(self.export_id)
            path, suffix = self._target()
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            with _staged(path) as staged:
                rows = self._fetch(export, staged, suffix)
                size = staged.stat().st_size
        self.log.info("Landed %d calls (%d bytes) of export %s at %s.", rows, size, export.id, self.path)
        return {"path": str(self.path), "rows": rows, "bytes": size, "export_id": export.id}

    def _target(self) -> tuple[ObjectStoragePath, str]:
        text = str(self.path)
        suffix = next((suffix for suffix in FORMATS if text.endswith(suffix)), None)
        if suffix is None or text.endswith(f"/{suffix}"):
            raise FlowrouteValueError(
                f"path is {text!r}: it must name a file that ends in {' or '.join(FORMATS)}, for that decides its form."
            )
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
        return path, suffix

    def _fetch(self, export: CdrExport, staged: Path, suffix: str) -> int:
        """Bring the export's file to ``staged``, checked.

        :return: its rows.
        """
        counter = RowCounter()
        try:
            with self.client.open_cdr_export(export) as download, staged.open("wb") as file:
                keep = suffix == ".csv.gz"
                for block in inflate(Tee(download, file) if keep else download):
                    counter.feed(block)
                    if not keep:
                        file.write(block)
                os.fsync(file.fileno())
        except CdrExportIntegrityError as e:
            raise CdrExportIntegrityError(
                f"The file of export {export.id} is damaged: {e}. {self.path} was left as it was."
            ) from None
        if export.num_calls is not None and counter.rows != export.num_calls:
            raise CdrExportIntegrityError(
                f"The file of export {export.id} has {counter.rows} rows, but Flowroute counts {export.num_calls} "
                f"calls. {self.path} was left as it was."
            )
        return counter.rows


@contextmanager
def _staged(path: ObjectStoragePath) -> Iterator[Path]:
    """A local file to fill, which becomes ``path`` if the block ends well and is gone if it does not.

    Never the target itself: a remote file opened for writing is published, half as it is, when its block raises.
    """
    if path.protocol in ("", "file", "local"):
        target = Path(os.path.realpath(path.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A sibling, for a rename is one step only within a file system; not mkstemp, whose file only its owner reads.
        staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            yield staged
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
        staged = Path(directory, path.name)
        yield staged
        path.fs.put_file(os.fspath(staged), path.path)
