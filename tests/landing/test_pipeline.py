"""One pass over the file: what is written, what is checked, and which error is raised."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import logging
import threading
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.cdr.columns import COLUMNS, REQUIRED
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    FlowrouteUnreachableError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.landing import FORMATS as FORMATS_OF_A_FILE
from airflow_provider_flowroute.landing import check_format, pipeline
from airflow_provider_flowroute.landing.reconciliation import Reconciliation
from airflow_provider_flowroute.simulator.calls import SAMPLE_ROWS

HEADER = ",".join(COLUMNS[:25])
SAMPLE = "".join(f"{line}\n" for line in (HEADER, *SAMPLE_ROWS)).encode()
WINDOW = {"start_call_start_time": "2019-06-25 00:00:00", "start_call_end_time": "2019-06-26 00:00:00"}
FEES = {
    "call_subtotal": "0.01839000",
    "connect_fees": "0.00000000",
    "cnamlookup_fees": "0.00390000",
    "usf_fees": "0.00000000",
    "ccrf": "0.00239896",
}
FORMATS = pytest.mark.parametrize("file_format", FORMATS_OF_A_FILE)


class Download(io.BytesIO):
    """A download whose bytes are already here."""

    position = 0
    total = None

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.position += count
        return count


def stage(
    content: bytes,
    path: Path,
    file_format: str = "parquet",
    *,
    packed: bool = True,
    progress_interval: float = 10,
    **attributes: Any,
) -> Reconciliation:
    reported = {"status": "completed", "num_calls": 3, "total_cost": "0.024689", "filter_parameters": WINDOW}
    export = CdrExport.from_resource({"id": "7", "attributes": {**reported, **attributes}})
    download: Any = Download(gzip.compress(content) if packed else content)
    return pipeline.stage(export, download, path, file_format, progress_interval=progress_interval)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staged"


@FORMATS
def test_the_reconciliation_is_the_same_in_every_format(path, file_format):
    result = stage(SAMPLE, path, file_format)

    assert result.mismatches == []
    assert result.totals.as_json() == {
        "rows": 3,
        "total_cost": "0.02468896",
        "billed_minutes": "3.00",
        "first_start": "2019-06-25T18:15:38+00:00",
        "last_start": "2019-06-25T18:18:54+00:00",
        "without_start": 0,
        "fees": FEES if file_format == "parquet" else {},
    }


def test_csv_is_inflated_and_csv_gz_keeps_its_bytes(path):
    content = "\ufeff".encode() + SAMPLE.replace(b"\n", b"\r\n")

    stage(content, path, "csv")
    assert path.read_bytes() == content
    packed = gzip.compress(content)
    stage(packed, path, "csv.gz", packed=False)
    assert path.read_bytes() == packed


def test_parquet_has_typed_rows_in_the_order_of_the_file(path):
    stage(SAMPLE, path)

    table = pq.read_table(path)
    rows = list(csv.DictReader(io.StringIO(SAMPLE.decode())))
    assert table.column_names == [*COLUMNS[:25], *COLUMNS[25:]]
    assert table.column("destination").to_pylist() == [row["destination"] for row in rows]
    assert table.column("total_cost").to_pylist() == [Decimal(row["total_cost"]) for row in rows]
    assert table.column("start_time").to_pylist()[0] == datetime(2019, 6, 25, 18, 18, 54, tzinfo=UTC)
    assert table.column("cdr_id").to_pylist() == [None] * 3


def test_the_parquet_footer_has_totals_and_checks(path):
    result = stage(SAMPLE, path)

    metadata = {
        name.decode().removeprefix("flowroute."): value.decode()
        for name, value in pq.read_metadata(path).metadata.items()
        if name.startswith(b"flowroute.")
    }
    assert json.loads(metadata.pop("totals")) == result.totals.as_json()
    assert json.loads(metadata.pop("reconciliation")) == result.as_json()
    assert result.as_json()["total_cost"]["passed"] is True
    assert metadata == {
        "export_id": "7",
        "window_start": "2019-06-25T00:00:00+00:00",
        "window_end": "2019-06-26T00:00:00+00:00",
        "export_window_start": "2019-06-25T00:00:00+00:00",
        "export_window_end": "2019-06-26T00:00:00+00:00",
        "provider_version": __version__,
    }


def test_parquet_has_row_groups_and_statistics_for_scanners(path, monkeypatch):
    monkeypatch.setattr("airflow_provider_flowroute.landing.arrow.ROW_GROUP_ROWS", 1000)
    monkeypatch.setattr("airflow_provider_flowroute.landing.arrow.BLOCK_BYTES", 10_000)
    lines = [line for line in SAMPLE_ROWS for _ in range(900)]

    stage("\n".join([HEADER, *lines]).encode(), path, num_calls=2700)

    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sum(sizes) == 2700
    assert all(1000 <= size < 1100 for size in sizes[:-1])
    start, cost, name = (
        metadata.row_group(0).column(COLUMNS.index(n)) for n in ("start_time", "total_cost", "callerid")
    )
    assert {column.compression for column in (start, cost, name)} == {"ZSTD"}
    assert start.statistics.max == datetime(2019, 6, 25, 18, 18, 54, tzinfo=UTC)
    assert cost.physical_type == "INT64"


@FORMATS
@pytest.mark.parametrize("content", [b"", HEADER.encode(), HEADER.encode() + b"\r\n", "\ufeff".encode()])
def test_a_file_without_rows_is_an_empty_typed_table(path, file_format, content):
    result = stage(content, path, file_format, num_calls=0, total_cost="0.0")

    assert (result.totals.rows, result.mismatches) == (0, [])
    if file_format == "parquet":
        table = pq.read_table(path)
        assert (table.num_rows, set(table.column_names)) == (0, set(COLUMNS))
        assert str(table.schema.field("rate").type) == "decimal128(18, 8)"


@FORMATS
def test_an_object_without_a_byte_is_complete_only_for_no_calls(path, file_format):
    assert stage(b"", path, file_format, packed=False, num_calls=0, total_cost="0.0").mismatches == []

    with pytest.raises(CdrExportIntegrityError, match="it is empty"):
        stage(b"", path, file_format, packed=False)


@FORMATS
@pytest.mark.parametrize(
    ("content", "attributes", "wrong"),
    [
        (SAMPLE.rsplit(b"Outbound", 1)[0], {"total_cost": "0.004748"}, "rows"),
        (SAMPLE, {"total_cost": "0.024690"}, "total_cost"),
        (
            SAMPLE,
            {"filter_parameters": {**WINDOW, "start_call_start_time": "2019-06-25 18:15:39"}},
            "start_time",
        ),
        (
            SAMPLE,
            {"filter_parameters": {**WINDOW, "start_call_end_time": "2019-06-25 18:18:54"}},
            "start_time",
        ),
        (SAMPLE.replace(b"2019-06-25 18:18:54+00", b""), {}, "start_time"),
    ],
)
def test_every_difference_is_a_mismatch_in_every_format(path, file_format, content, attributes, wrong):
    result = stage(content, path, file_format, **attributes)

    assert [check.name for check in result.mismatches] == [wrong]


@FORMATS
def test_a_duplicate_call_is_found_in_every_format(path, file_format):
    header = f"{HEADER},cdr_id\n".encode()
    rows = "".join(f"{line},id-{number % 2}\n" for number, line in enumerate(SAMPLE_ROWS)).encode()

    result = stage(header + rows, path, file_format)

    assert [str(check) for check in result.mismatches] == [
        "cdr_id 1, expected 0 (failed: duplicates of id-0)"
    ]


def test_the_footer_of_a_file_with_duplicates_says_so(path):
    rows = "".join(f"{line},the same\n" for line in SAMPLE_ROWS).encode()

    result = stage(f"{HEADER},cdr_id\n".encode() + rows, path)

    footer = json.loads(pq.read_metadata(path).metadata[b"flowroute.reconciliation"])
    assert footer["cdr_id"] == {
        "actual": 1,
        "expected": 0,
        "passed": False,
        "reason": "duplicates of the same",
    }
    assert footer == result.as_json()
    assert pq.read_table(path).num_rows == 3
    assert list(path.parent.iterdir()) == [path]


@FORMATS
@pytest.mark.parametrize("cut", [10, 100, -9, -1])
def test_a_cut_file_is_refused_in_every_format(path, file_format, cut):
    with pytest.raises(CdrExportIntegrityError, match="incomplete or damaged"):
        stage(gzip.compress(SAMPLE)[:cut], path, file_format, packed=False)


def test_damage_that_looks_like_a_wrong_value_is_damage(path):
    packed = gzip.compress(SAMPLE.replace(b",37,", b",3x,"))
    assert packed[-8:-4] == zlib.crc32(SAMPLE.replace(b",37,", b",3x,")).to_bytes(4, "little")
    damaged = packed[:-8] + zlib.crc32(SAMPLE).to_bytes(4, "little") + packed[-4:]

    with pytest.raises(CdrExportIntegrityError, match="CRC"):
        stage(damaged, path, packed=False)
    with pytest.raises(CdrExportFormatError, match=r"Row 2, column duration: .*'3x'"):
        stage(packed, path, packed=False)


def test_a_wrong_value_far_down_the_file_has_its_row(path, monkeypatch):
    monkeypatch.setattr("airflow_provider_flowroute.landing.arrow.BLOCK_BYTES", 1000)
    lines = [HEADER, *(SAMPLE_ROWS * 100)]
    lines[120] = lines[120].replace("Office Line 1", '"Office\nLine 1"')
    lines[200] = lines[200].replace(",6,6,", ",6,six,")
    lines[280] = lines[280].replace(",6,6,", ",6,,6,")

    with pytest.raises(CdrExportFormatError, match=r"Row 201, column subsequent_increment: .*'six'"):
        stage("\n".join(lines).encode(), path)


def test_a_connection_lost_after_a_wrong_value_is_transient(path, monkeypatch):
    monkeypatch.setattr("airflow_provider_flowroute.landing.arrow.BLOCK_BYTES", 100)

    class Lost(Download):
        def readinto(self, buffer: Any) -> int:
            if self.position > 300:
                raise FlowrouteUnreachableError("cut")
            return super().readinto(memoryview(buffer)[:50])

    monkeypatch.setattr("tests.landing.test_pipeline.Download", Lost)

    with pytest.raises(FlowrouteUnreachableError):
        stage(SAMPLE.replace(b",37,", b",3x,"), path)


@FORMATS
def test_a_missing_required_column_is_an_error_that_names_it(path, file_format):
    for name in REQUIRED:
        content = SAMPLE.replace(name.encode(), b"other", 1)
        with pytest.raises(CdrExportFormatError, match=f"lacks required columns: {name}"):
            stage(content, path, file_format)


def test_no_thread_is_left_after_an_error(path):
    with pytest.raises(CdrExportFormatError):
        stage(SAMPLE.replace(b",37,", b",3x,"), path)

    assert [thread.name for thread in threading.enumerate() if "flowroute-landing" in thread.name] == []


def test_long_work_logs_its_progress_even_while_it_stalls(path, caplog, monkeypatch):
    logged = threading.Event()

    class Stalled(Download):
        total = 2000  # type: ignore[assignment]

        def readinto(self, buffer: Any) -> int:
            if self.position:
                logged.wait(10)
            return super().readinto(memoryview(buffer)[:200])

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    monkeypatch.setattr("tests.landing.test_pipeline.Download", Stalled)
    logging.getLogger(pipeline.__name__).addHandler(listener := Listener())
    try:
        with caplog.at_level(logging.INFO):
            stage(SAMPLE, path, progress_interval=0.1)
    finally:
        logging.getLogger(pipeline.__name__).removeHandler(listener)

    assert any("Export 7: 0.0 of 0.0 MB (10%), 0 rows, " in line for line in caplog.messages), caplog.messages
    assert caplog.messages[-1].startswith("Export 7: 0.0 of 0.0 MB (")
    assert ", 3 rows, " in caplog.messages[-1]


def test_quick_work_logs_no_progress(path, caplog):
    with caplog.at_level(logging.INFO):
        stage(SAMPLE.replace(HEADER.encode(), ",".join(COLUMNS[:25]).encode()), path, "csv")

    assert [line for line in caplog.messages if "MB" in line] == []


@pytest.mark.parametrize(
    ("file_format", "words"), [("xml", "parquet"), ("", "csv.gz"), ("Parquet", "parquet")]
)
def test_an_unknown_format_is_refused(file_format, words):
    with pytest.raises(FlowrouteValueError, match=words):
        check_format(file_format)


@pytest.mark.parametrize("name", ["pyarrow", "numpy", "isal"])
@FORMATS
def test_a_missing_library_names_the_extra_to_install(file_format, name, mocker):
    find_spec = importlib.util.find_spec
    mocker.patch("importlib.util.find_spec", lambda module: None if module == name else find_spec(module))

    with pytest.raises(
        FlowrouteValueError, match=rf"needs {name}.*\n.*airflow-provider-flowroute\[landing\]"
    ):
        check_format(file_format)
