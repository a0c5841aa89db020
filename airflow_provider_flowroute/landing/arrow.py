"""An export's records as typed Arrow tables, and as Parquet."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from airflow_provider_flowroute.cdr.columns import (
    FEE_COLUMNS,
    MONEY,
    MONEY_PRECISION,
    MONEY_SCALE,
    SECONDS,
    TIMES,
)
from airflow_provider_flowroute.exceptions import CdrExportFormatError
from airflow_provider_flowroute.landing.csv_stream import Header, Readable
from airflow_provider_flowroute.landing.reconciliation import Totals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Bytes of CSV that are parsed at a time: fewer cost more calls, more do not fit into the processor's cache. A record
#: must fit into a block.
BLOCK_BYTES = 1 << 20
#: Large enough that scanners skip groups by statistics, small enough to keep some groups in memory.
ROW_GROUP_ROWS = 64 * 1024
#: Text that recurs within a row group. For other text a dictionary is wasted work.
_RECURRING = frozenset(
    {
        "direction",
        "number_alias",
        "destination_name",
        "callerid_country",
        "line_information",
        "result",
        "call_fail_sip_code",
        "call_fail_reason",
        "custom_x_tag",
        "customer_ip",
    }
)
#: Columns that queries filter by. The minimum and maximum of random text help no scanner.
_WITH_STATISTICS = TIMES | MONEY | SECONDS
#: How pyarrow words an error of a value, and of a row with too few or too many fields, whose content may be personal.
_VALUE_ERROR = re.compile(r"In CSV column #(\d+): Row #(\d+): (.*)", re.DOTALL)
_RECORD_ERROR = re.compile(r"CSV parse error: Row #(\d+): (Expected \d+ columns, got \d+)")


def type_of(column: str) -> pa.DataType:
    """Return the Arrow type of a column; text for an unknown one."""
    if column in TIMES:
        return pa.timestamp("us", "UTC")
    if column in MONEY:
        return pa.decimal128(MONEY_PRECISION, MONEY_SCALE)
    return pa.int32() if column in SECONDS else pa.string()


def schema_of(columns: Iterable[str]) -> pa.Schema:
    """Return the schema of a table with these columns."""
    return pa.schema([(name, type_of(name)) for name in columns])


def read_tables(
    stream: Readable, header: Header, columns: Sequence[str] | None = None
) -> Generator[pa.Table]:
    """Read the records of a CSV as typed tables, a few thousand records each.

    pyarrow reads the stream in a thread of its own. Close the generator to end that thread.

    :param stream: the file behind its header.
    :param header: the file's header.
    :param columns: the columns to read, where the file has them; None for all, with nulls for known columns that the
        file lacks.
    :raises CdrExportFormatError: a value does not fit its column, or a record has too few or too many fields; with
        row and column. The header is row 1, as in a spreadsheet.
    """
    names = header.columns if columns is None else tuple(name for name in columns if name in header.names)
    if not stream.peek(1):  # pyarrow reports this as an error
        return
    rows = 1
    try:
        with pyarrow.csv.open_csv(
            stream,
            # Without threads an error names its row. Parsing is one of several stages that run side by side.
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, column_names=header.names, block_size=BLOCK_BYTES
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=schema_of(names),
                # A list of all columns has the same meaning, but costs a tenth of the time.
                include_columns=None if names == header.names else names,
                include_missing_columns=True,
                # Not pyarrow's own list of nulls: "N/A" is one of Flowroute's values.
                null_values=[""],
                strings_can_be_null=True,
            ),
        ) as batches:
            for batch in batches:
                table = pa.Table.from_batches([batch])
                _check_amounts(table, rows)
                rows += table.num_rows
                yield table
    except pa.ArrowInvalid as e:
        raise CdrExportFormatError(_explain(str(e), header)) from None


def _check_amounts(table: pa.Table, rows_before: int) -> None:
    """Refuse amounts with too many digits before the point: pyarrow's parser returns other numbers for them."""
    for name in MONEY.intersection(table.column_names):
        try:
            table.column(name).validate(full=True)
        except pa.ArrowInvalid:
            first, last = rows_before + 1, rows_before + table.num_rows
            raise CdrExportFormatError(
                f"Rows {first} to {last}, column {name}: an amount is too large.\n"
                f"It has more than {MONEY_PRECISION - MONEY_SCALE} digits before the decimal point."
            ) from None


def _explain(problem: str, header: Header) -> str:
    """Word an error of pyarrow with the column's name, the file's row, and no more of the record than the value."""
    if match := _VALUE_ERROR.fullmatch(problem):
        return f"Row {int(match[2]) + 1}, column {header.names[int(match[1])]}: {match[3]}."
    if match := _RECORD_ERROR.match(problem):
        return f"Row {int(match[1]) + 1}: {match[2]}."
    if "straddl" in problem:
        return f"A record is longer than {BLOCK_BYTES >> 20} MiB: one of its quotes is probably not closed."
    return problem


def rebatch(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Combine tables to :data:`ROW_GROUP_ROWS` rows or a few more.

    :param tables: from :func:`read_tables`.
    """
    batch: list[pa.Table] = []
    for table in tables:
        batch.append(table)
        if sum(part.num_rows for part in batch) >= ROW_GROUP_ROWS:
            yield pa.concat_tables(batch)
            batch = []
    if batch:
        yield pa.concat_tables(batch)


def totals_of(table: pa.Table, header: Header) -> Totals:
    """Add up the rows of a table.

    :param table: from :func:`read_tables`.
    :param header: the columns that the file has; the others are null.
    """

    def total(column: str) -> Any:
        return pc.sum(table.column(column), min_count=0).as_py() if column in header.names else None

    starts = table.column("start_time")
    # Not as_py() of a time: it imports pandas where it is installed, which takes a second and 50 MB.
    first, last = (pc.min_max(starts)[end].value for end in ("min", "max"))
    return Totals(
        rows=table.num_rows,
        total_cost=total("total_cost"),
        billed_seconds=total("billed_duration"),
        first_start=None if first is None else _EPOCH + timedelta(microseconds=first),
        last_start=None if last is None else _EPOCH + timedelta(microseconds=last),
        without_start=starts.null_count,
        fees={name: total(column) for name, column in FEE_COLUMNS.items() if column in table.column_names},
    )


class CdrParquetWriter:
    """Write tables to a Parquet file, each as a row group.

    :param path: the file.
    :param columns: of each table.
    """

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        schema = schema_of(columns)
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=[name for name in schema.names if name in _RECURRING | MONEY | SECONDS],
            write_statistics=[name for name in schema.names if name in _WITH_STATISTICS],
            store_decimal_as_integer=True,
        )

    def write(self, table: pa.Table) -> None:
        """Write a table as a row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self, metadata: Mapping[str, str] | None = None) -> None:
        """Write the footer.

        :param metadata: its key-value metadata.
        """
        self._writer.add_key_value_metadata(metadata or {})
        self._writer.close()

    def discard(self) -> None:
        """Close an incomplete file. The caller removes it."""
        with suppress(OSError):  # there may be no space for a footer either
            self._writer.close()


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a Parquet file in batches.

    :param path: the file.
    :param columns: the names of the columns to read; None for all.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            yield pa.Table.from_batches([batch])


def rewrite_footer(path: Path, metadata: Mapping[str, str]) -> None:
    """Give a Parquet file another footer. pyarrow cannot change one, so this copies the row groups.

    :param path: the file.
    :param metadata: the new footer's key-value metadata.
    """
    copy = path.with_name(f"{path.name}.copy")
    try:
        with pq.ParquetFile(path) as file:
            writer = CdrParquetWriter(copy, file.schema_arrow.names)
            try:
                for number in range(file.num_row_groups):
                    writer.write(file.read_row_group(number))
                writer.close(metadata)
            finally:
                writer.discard()
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)
