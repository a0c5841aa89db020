"""What OpenLineage is told of a landing: the export it came from, the file it made, and whether the two agree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_flowroute.landing.publish import bucket_of, is_local

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.reconciliation import Check, Reconciliation

# Not Airflow's hook lineage: that knows of files by their URI alone, neither schema nor statistics nor checks.

#: What each check of the reconciliation is called there, and the column that it is of.
_ASSERTIONS = {
    "rows": ("row_count", None),
    "total_cost": ("sum", "total_cost"),
    "start_time": ("in_window", "start_time"),
    "cdr_id": ("unique", "cdr_id"),
}


@dataclass
class LandingLineage:
    """One landing, as far as it has come.

    :param export: as Flowroute describes it.
    :param base_url: the API that it is an export of.
    :param path: where its file goes.
    :param file_format: ``parquet``, ``csv`` or ``csv.gz``.
    :param severity: of a mismatch: ``error`` if it fails the task, else ``warn``.
    :param result: the file's reconciliation; None before the file was read to its end.
    :param size: the bytes that were published; None before that.
    """

    export: CdrExport
    base_url: str
    path: ObjectStoragePath
    file_format: str
    severity: str
    result: Reconciliation | None = None
    size: int | None = None

    def openlineage(self) -> OperatorLineage[Any, Any]:
        """For OpenLineage, whose provider must be installed. A landing that failed has an input only."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        published = self.result is not None and self.size is not None
        return OperatorLineage(inputs=[self._input()], outputs=[self._output()] if published else [])

    def _input(self) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        made = [each for each in self.result.checks if each.agrees is not None] if self.result else []
        assertions = [self._assertion(each) for each in made]
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
        expected, actual = self._compared(check)
        told: dict[str, Any] = {
            "assertion": assertion,
            "success": check.agrees,
            "column": column,
            "severity": self.severity,
            "expected": expected,
            "actual": actual,
        }
        # Clients of some years ago know the first three only.
        known = {field.name for field in fields(quality.Assertion)}
        return quality.Assertion(**{name: value for name, value in told.items() if name in known})

    def _compared(self, check: Check) -> tuple[str, str]:
        """What a check expects and what the file has: values where there are any, or in words."""
        assert self.result is not None
        export, figures, window = self.export, self.result.figures, self.export.window
        first, last = figures.first_start, figures.last_start
        if check.name == "rows":
            return str(export.num_calls), str(figures.rows)
        if check.name == "total_cost" and export.total_cost is not None and figures.total_cost is not None:
            return f"{export.total_cost:f}", f"{figures.total_cost:.8f}"
        if check.name == "start_time" and window and first and last and not figures.without_start:
            return _interval(window.start, window.end), _interval(first, last)
        return check.expected, check.in_file

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
                    rowCount=self.result.figures.rows, size=self.size
                )
            },
        )

    def _columns(self) -> list[tuple[str, str]]:
        """The names of the file's columns, and their types; all of a CSV's are text."""
        assert self.result is not None
        if self.file_format != "parquet":
            return [(name, "string") for name in self.result.columns]
        from airflow_provider_flowroute.landing.arrow import schema_of
        from airflow_provider_flowroute.landing.csv_stream import Header

        return [(field.name, str(field.type)) for field in schema_of(Header(self.result.columns))]


def _interval(start: datetime, end: datetime) -> str:
    """As ISO 8601 writes it."""
    return f"{start.isoformat()}/{end.isoformat()}"


def dataset_name(path: ObjectStoragePath) -> tuple[str, str]:
    """The namespace and name of a file, by OpenLineage's naming of datasets; never its connection.

    :param path: the file.
    """
    if is_local(path):
        return "file", os.path.realpath(path.path)
    protocol, bucket = path.protocol, bucket_of(path)
    if protocol in ("abfs", "abfss"):
        # Who else tells of it names the storage account, which only the connection knows.
        account = getattr(path.fs, "account_name", None)
        host = f"@{account}.dfs.core.windows.net" if account else ""
        return f"abfss://{bucket}{host}", path.key
    common = {"s3a": "s3", "gcs": "gs"}.get(protocol, protocol)
    return f"{common}://{bucket}", path.key
