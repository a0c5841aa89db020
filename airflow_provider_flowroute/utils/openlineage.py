"""Report a landing to OpenLineage: its export, its file, and the checks between the two."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_flowroute.landing.publish import DATE, bucket_of, folder_of, is_local
from airflow_provider_flowroute.landing.reconciliation import as_text

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.reconciliation import Check, Reconciliation

# Airflow's hook lineage knows only the URI of a file: no schema, no statistics, no checks.

#: OpenLineage's assertion and the column for each check of the reconciliation.
_ASSERTIONS = {
    "rows": ("row_count", None),
    "total_cost": ("sum", "total_cost"),
    "start_time": ("in_window", "start_time"),
    "cdr_id": ("unique", "cdr_id"),
}


@dataclass
class LandingLineage:
    """The lineage of one landing, complete or not.

    :param export: the export as Flowroute describes it.
    :param base_url: the URL of the API that has the export.
    :param path: the target of the file.
    :param file_format: ``parquet``, ``csv`` or ``csv.gz``.
    :param severity: ``error`` if a failed check fails the task, else ``warn``.
    :param result: the reconciliation of the file; None until the file was read to its end.
    :param size: the published bytes; None until the file was published.
    """

    export: CdrExport
    base_url: str
    path: ObjectStoragePath
    file_format: str
    severity: str
    result: Reconciliation | None = None
    size: int | None = None

    def openlineage(self) -> OperatorLineage[Any, Any]:
        """Return the lineage. It needs OpenLineage's provider. A failed landing has only an input."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        published = self.result is not None and self.size is not None
        return OperatorLineage(inputs=[self._input()], outputs=[self._output()] if published else [])

    def _input(self) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        checks = [check for check in self.result.checks if check.passed is not None] if self.result else []
        assertions = [self._assertion(check) for check in checks]
        return InputDataset(
            namespace=f"flowroute://{urlsplit(self.base_url).netloc}",
            name=f"cdrs/exports/{self.export.id}",
            inputFacets={
                "dataQualityAssertions": quality.DataQualityAssertionsDatasetFacet(assertions=assertions)
            }
            if assertions
            else {},
        )

    def _assertion(self, check: Check) -> Any:
        from attrs import fields
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        assertion, column = _ASSERTIONS[check.name]
        values: dict[str, Any] = {
            "assertion": assertion,
            "success": check.passed,
            "column": column,
            "severity": self.severity,
            "expected": as_text(check.expected),
            "actual": as_text(check.actual),
        }
        # Old versions of the client know only the first three.
        known = {field.name for field in fields(quality.Assertion)}
        return quality.Assertion(**{name: value for name, value in values.items() if name in known})

    def _output(self) -> OutputDataset:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
        from openlineage.client.facet_v2 import schema_dataset as schema

        assert self.result is not None
        fields = [schema.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in self._columns()]
        namespace, name = dataset_name(self.path)
        return OutputDataset(
            namespace=namespace,
            name=name,
            facets={"schema": schema.SchemaDatasetFacet(fields=fields)},
            outputFacets={
                "outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(
                    rowCount=self.result.totals.rows, size=self.size
                )
            },
        )

    def _columns(self) -> list[tuple[str, str]]:
        """Return the names and types of the file's columns. In a CSV all are text."""
        assert self.result is not None
        if self.file_format != "parquet":
            return [(name, "string") for name in self.result.columns]
        from airflow_provider_flowroute.landing.arrow import schema_of
        from airflow_provider_flowroute.landing.csv_stream import Header

        columns = Header(self.result.columns).columns
        return [(field.name, str(field.type)) for field in schema_of(columns)]


def dataset_name(path: ObjectStoragePath) -> tuple[str, str]:
    """Return the namespace and name of a file by OpenLineage's naming rules, without its Airflow connection.

    :param path: the file, or the pattern of day files: their folder is the dataset.
    """
    if DATE in str(path):
        path = folder_of(path)
    if is_local(path):
        return "file", os.path.realpath(path.path)
    protocol, bucket = path.protocol, bucket_of(path)
    if protocol in ("abfs", "abfss"):
        # Other producers name the storage account, which only the connection knows.
        account = getattr(path.fs, "account_name", None)
        host = f"@{account}.dfs.core.windows.net" if account else ""
        return f"abfss://{bucket}{host}", path.key
    common = {"s3a": "s3", "gcs": "gs"}.get(protocol, protocol)
    return f"{common}://{bucket}", path.key
