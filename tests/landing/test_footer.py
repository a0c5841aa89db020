"""A footer is read without the rows, and a file without one is nobody's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import CdrExportLandingError
from airflow_provider_flowroute.landing.arrow import CdrParquetWriter, schema_of
from airflow_provider_flowroute.landing.footer import TAIL_BYTES, Footer, footer_metadata, read_footer
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach

DAY = Window(datetime(2019, 6, 25, tzinfo=UTC), datetime(2019, 6, 26, tzinfo=UTC))
WEEK = Window(datetime(2019, 6, 24, tzinfo=UTC), datetime(2019, 7, 1, tzinfo=UTC))
PARAMETERS = {"start_call_start_time": "2019-06-24 00:00:00", "start_call_end_time": "2019-07-01 00:00:00"}
TOTALS = Totals(3, Decimal("0.02468896"), 180, DAY.start, DAY.start)
PART = Totals(1, Decimal("0.01000000"), 60, DAY.start, DAY.start)


def an_export(**attributes: Any) -> CdrExport:
    reported = {"status": "completed", "num_calls": 3, "total_cost": "0.024689"}
    return CdrExport.from_resource(
        {"id": "7", "attributes": {**reported, "filter_parameters": PARAMETERS, **attributes}}
    )


def a_file(path: Path, row_groups: int = 1, **footer: Any) -> Reconciliation:
    export = footer.pop("export", an_export())
    result = Reconciliation(export, TOTALS, COLUMNS)
    writer = CdrParquetWriter(path, COLUMNS)
    row = pa.table(
        {name: pa.nulls(1, kind) for name, kind in zip(COLUMNS, schema_of(COLUMNS).types, strict=True)}
    )
    for _ in range(row_groups):
        writer.write(row)
    writer.close(footer_metadata(export, result, **footer))
    return result


@pytest.fixture
def store() -> MemoryFileSystem:
    memory = fsspec.filesystem("memory")
    attach("memory", fs=memory)
    return memory


def test_a_footer_has_window_totals_and_checks_of_the_export(tmp_path):
    result = a_file(tmp_path / "cdrs.parquet")

    footer = read_footer(ObjectStoragePath(f"file://{tmp_path}/cdrs.parquet"))

    assert footer == Footer(
        export_id="7",
        window=WEEK,
        totals=TOTALS,
        checks=json.loads(json.dumps(result.as_json())),
        export_window=WEEK,
        columns=COLUMNS,
        size=(tmp_path / "cdrs.parquet").stat().st_size,
    )
    assert footer.reconciled


def test_a_footer_of_a_day_has_the_window_of_its_export_too(tmp_path):
    a_file(tmp_path / "cdrs.parquet", window=DAY, totals=PART)

    footer = read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet"))

    assert footer is not None
    assert (footer.window, footer.totals, footer.export_window) == (DAY, PART, WEEK)
    assert footer.checks["rows"]["actual"] == 3


def test_a_failed_check_is_not_reconciled(tmp_path):
    a_file(tmp_path / "cdrs.parquet", export=an_export(num_calls=4))

    footer = read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet"))

    assert footer is not None
    assert not footer.reconciled


def test_a_footer_of_an_earlier_version_is_read(tmp_path):
    totals = TOTALS.as_json()
    del totals["fees"], totals["without_start"]
    metadata = footer_metadata(an_export(), Reconciliation(an_export(), TOTALS, COLUMNS))
    writer = CdrParquetWriter(tmp_path / "cdrs.parquet", COLUMNS)
    writer.close(
        {name: value for name, value in metadata.items() if "export_window" not in name}
        | {"flowroute.totals": json.dumps(totals)}
    )

    footer = read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet"))

    assert footer is not None
    assert (footer.totals.rows, footer.totals.fees, footer.export_window) == (3, {}, WEEK)


def test_an_export_without_a_window_has_a_footer_without_one(tmp_path):
    a_file(tmp_path / "cdrs.parquet", export=an_export(filter_parameters={}))

    footer = read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet"))

    assert footer is not None
    assert (footer.window, footer.export_window) == (None, None)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"x" * 100, b"x" * 100_000 + b"\xff\xff\xff\xffPAR1", b"PAR1" * 3]
)
def test_a_file_that_is_not_parquet_has_no_footer(tmp_path, content):
    (tmp_path / "cdrs.parquet").write_bytes(content)

    assert read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet")) is None


def test_parquet_of_another_program_has_no_footer(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "cdrs.parquet")

    assert read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet")) is None


def test_a_missing_file_has_no_footer(tmp_path, store):
    (tmp_path / "folder").mkdir()

    assert read_footer(ObjectStoragePath(f"{tmp_path}/cdrs.parquet")) is None
    assert read_footer(ObjectStoragePath(f"{tmp_path}/folder")) is None
    assert read_footer(ObjectStoragePath("memory://lake/none.parquet")) is None


@pytest.mark.parametrize(("row_groups", "reads"), [(1, 1), (60, 2)])
def test_only_the_end_of_a_file_is_read(tmp_path, store, mocker, row_groups, reads):
    """A footer that is longer than the first read takes one more, of exactly its length."""
    a_file(tmp_path / "cdrs.parquet", row_groups)
    store.pipe_file("/lake/cdrs.parquet", (tmp_path / "cdrs.parquet").read_bytes())
    read = mocker.spy(MemoryFileSystem, "cat_file")

    footer = read_footer(ObjectStoragePath("memory://lake/cdrs.parquet"))

    assert footer is not None
    assert footer.totals == TOTALS
    spans = [call.kwargs["end"] - call.kwargs["start"] for call in read.call_args_list]
    assert len(spans) == reads
    assert spans[0] == min(TAIL_BYTES, footer.size)
    assert spans[-1] < footer.size or reads == 1


def test_a_read_error_names_the_file(store, mocker):
    mocker.patch.object(MemoryFileSystem, "info", side_effect=PermissionError("Access Denied"))

    with pytest.raises(CdrExportLandingError) as caught:
        read_footer(path := ObjectStoragePath("memory://lake/cdrs.parquet"))

    assert str(caught.value) == f"{path} cannot be read.\nPermissionError: Access Denied"
    assert not caught.value.transient
