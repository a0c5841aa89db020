"""How a landing is reported to OpenLineage; tests/airflow has whole runs."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from airflow_provider_flowroute.utils.openlineage import LandingLineage, dataset_name

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach


class Azure(MemoryFileSystem):
    """The part of adlfs that is asked here."""

    account_name = "telephony"


class Unnamed(MemoryFileSystem):
    """The same for a connection that names no account."""

    account_name = None


def a_landing(
    export: Any, path: str, file_format: str, names: tuple[str, ...], **options: Any
) -> LandingLineage:
    result = Reconciliation(export, Totals(rows=2, total_cost=Decimal(1)), names)
    return LandingLineage(
        export, "https://api.flowroute.com", ObjectStoragePath(path), file_format, "error", result, **options
    )


def columns_of(landing: LandingLineage) -> list[tuple[str, str]]:
    [file] = landing.openlineage().outputs
    return [(field.name, field.type) for field in file.facets["schema"].fields]


@pytest.mark.parametrize(
    ("url", "namespace", "name"),
    [
        ("/lake/day.csv", "file", "/lake/day.csv"),
        ("file:///lake/day.csv", "file", "/lake/day.csv"),
        ("s3://lake/cdrs/day.csv", "s3://lake", "cdrs/day.csv"),
        ("s3://aws_default@lake/cdrs/day.csv", "s3://lake", "cdrs/day.csv"),
        ("s3a://lake/cdrs/day.csv", "s3://lake", "cdrs/day.csv"),
        ("gs://gcp@lake/cdrs/day.csv", "gs://lake", "cdrs/day.csv"),
        ("gcs://lake/cdrs/day.csv", "gs://lake", "cdrs/day.csv"),
        ("abfs://azure@lake/day.csv", "abfss://lake@telephony.dfs.core.windows.net", "day.csv"),
        ("abfss://unnamed@lake/day.csv", "abfss://lake", "day.csv"),
    ],
)
def test_a_file_has_openlineages_name_without_its_connection(url, namespace, name):
    attach("abfs", "azure", fs=Azure())
    attach("abfss", "unnamed", fs=Unnamed())

    assert dataset_name(ObjectStoragePath(url)) == (namespace, name)


def test_the_export_is_named_by_the_host_of_its_api(export):
    landing = a_landing(export, "/lake/day.csv", "csv", COLUMNS)

    [source] = landing.openlineage().inputs
    assert (source.namespace, source.name) == ("flowroute://api.flowroute.com", f"cdrs/exports/{export.id}")


def test_a_csv_has_the_files_own_columns_all_text(export):
    names = ("direction", "start_time", "destination", "callerid", "new")

    assert columns_of(a_landing(export, "/lake/day.csv", "csv", names, size=1)) == [
        (name, "string") for name in names
    ]


def test_parquet_has_typed_columns_also_missing_ones(export):
    names = ("direction", "start_time", "destination", "callerid", "new")

    columns = dict(columns_of(a_landing(export, "/lake/day.parquet", "parquet", names, size=1)))
    assert set(columns) == {*COLUMNS, "new"}
    assert (columns["start_time"], columns["total_cost"], columns["duration"], columns["new"]) == (
        "timestamp[us, tz=UTC]",
        "decimal128(18, 8)",
        "int32",
        "string",
    )


def test_a_skipped_check_is_no_assertion(export):
    landing = a_landing(export, "/lake/day.csv", "csv", ("direction",))

    [source] = landing.openlineage().inputs
    assertions = [assertion.assertion for assertion in source.inputFacets["dataQualityAssertions"].assertions]
    assert "unique" not in assertions
    assert assertions


def test_an_unpublished_file_is_no_output(export):
    assert a_landing(export, "/lake/day.csv", "csv", COLUMNS).openlineage().outputs == []


def test_a_file_that_was_not_read_completely_has_no_assertions(export):
    landing = LandingLineage(
        export, "https://api.flowroute.com", ObjectStoragePath("/lake/day.csv"), "csv", "error"
    )

    lineage = landing.openlineage()
    assert (lineage.inputs[0].inputFacets, lineage.outputs) == ({}, [])


def test_an_old_client_gets_the_fields_that_it_knows(export, monkeypatch):
    import attrs
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    @attrs.define
    class Assertion:
        assertion: str
        success: bool
        column: str | None = None

    monkeypatch.setattr(quality, "Assertion", Assertion)

    [source] = a_landing(export, "/lake/day.csv", "csv", COLUMNS).openlineage().inputs
    assert Assertion("unique", True, "cdr_id") in source.inputFacets["dataQualityAssertions"].assertions


def test_missing_values_are_reported_as_none(export):
    totals = Totals(total_cost=None, without_start=1)
    result = Reconciliation(export, totals, ("direction", "cdr_id"), ["a", "a"])
    landing = LandingLineage(
        export, "https://api.flowroute.com", ObjectStoragePath("/day.csv"), "csv", "warn", result
    )

    [source] = landing.openlineage().inputs
    reported = {
        assertion.assertion: assertion for assertion in source.inputFacets["dataQualityAssertions"].assertions
    }
    assert reported["sum"].actual == "none"
    assert reported["in_window"].actual == "none"
    assert (reported["unique"].success, reported["unique"].severity) == (False, "warn")
    assert reported["unique"].actual == "2"


def test_a_landing_works_without_openlineage(flowroute, tmp_path):
    code = f"""
import sys

for name in ("openlineage", "airflow.providers.openlineage.extractors"):
    sys.modules[name] = None

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

window = {{"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}}
export_id = CreateCdrExportOperator(task_id="create", **window).execute({{}})
land = CdrExportToObjectStorageOperator(task_id="land", export_id=export_id, path={str(tmp_path / "day.csv")!r})
assert land.execute({{}})["rows"] == 3
"""

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "day.csv").read_bytes() == flowroute.csv(flowroute.exports[0].id)


def test_a_try_that_failed_early_reports_no_earlier_lineage(flowroute, tmp_path):
    export_id = CreateCdrExportOperator(
        task_id="create", start_call_start_time="2019-06-25", start_call_end_time="2019-06-26"
    ).execute({})
    land = CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path=str(tmp_path / "day.csv"), overwrite=False
    )
    land.execute({})
    lineage = land.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    assert lineage.outputs

    with pytest.raises(AirflowFailException, match="already exists"):
        land.execute({})
    assert land.get_openlineage_facets_on_complete(None) is None
