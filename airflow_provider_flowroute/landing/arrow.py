"""A file's records as typed Arrow data, and as Parquet. Imported only where a file is landed: pyarrow is an extra."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from airflow_provider_flowroute.cdr.columns import MONEY, MONEY_PRECISION, MONEY_SCALE, SECONDS, TIMES
from airflow_provider_flowroute.exceptions import CdrExportFormatError
from airflow_provider_flowroute.landing.csv_stream import Header, read_columns
from airflow_provider_flowroute.landing.duplicates import ID_BYTES, HashedIds
from airflow_provider_flowroute.landing.reconciliation import Totals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Enough for a scanner to skip by, few enough to keep some groups of them in memory.
ROW_GROUP_ROWS = 64 * 1024
#: Text that recurs within a row group, as numbers do; for other text a dictionary is work for nothing.
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
#: Columns that queries narrow down by. The least and the greatest of some random text help no scanner.
_WITH_STATISTICS = TIMES | MONEY | SECONDS
#: Powers of an odd number, one for each word of an id.
_ODD = np.cumprod(np.full(ID_BYTES // 8, 0x9E3779B97F4A7C15, np.uint64))


def type_of(column: str) -> pa.DataType:
    """The Arrow type of a column; text for one that nobody knows."""
    if column in TIMES:
        return pa.timestamp("us", "UTC")
    if column in MONEY:
        return pa.decimal128(MONEY_PRECISION, MONEY_SCALE)
    return pa.int32() if column in SECONDS else pa.string()


def schema_of(header: Header) -> pa.Schema:
    """The schema of a table made of a file with this header."""
    return pa.schema([(name, type_of(name)) for name in header.columns])


class ArrowReader:
    """Makes a table of each chunk of a file.

    :param header: the file's.
    :param wanted: the columns to read, of those the file has; None for all, and for those that it lacks, as nulls.
    """

    def __init__(self, header: Header, wanted: Sequence[str] | None = None) -> None:
        self._header = header
        self._present = [name for name in wanted or header.names if name in header.names]
        columns = self._present if wanted is not None else list(header.columns)
        # Not empty_table(), nor as_py() of a time: they import pandas where it is installed, a second and 50 MB.
        self._empty = pa.Table.from_batches([], pa.schema([(name, type_of(name)) for name in columns]))
        self._parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        self._convert = pyarrow.csv.ConvertOptions(
            column_types={name: type_of(name) for name in columns},
            # A list of all of them says the same, but costs a tenth of the time.
            include_columns=None if columns == list(header.names) else columns,
            include_missing_columns=True,
            # Not pyarrow's own list of nulls: "N/A" is a word of Flowroute's.
            null_values=[""],
            strings_can_be_null=True,
            # Of all columns see _check_utf8.
            check_utf8=wanted is not None,
        )

    def read(self, chunk: bytes, line: int = 2) -> pa.Table:
        """The chunk's records.

        :param chunk: whole records.
        :param line: the line on which it begins, for errors.
        :raises CdrExportFormatError: a value does not fit its column's type, or a row has too few fields or too
            many; with line and column.
        """
        if not chunk or chunk.isspace():  # for pyarrow no CSV at all
            return self._empty
        options = pyarrow.csv.ReadOptions(
            use_threads=False, column_names=self._header.names, block_size=len(chunk) + 1
        )
        content = pa.py_buffer(chunk)
        try:
            if not self._convert.check_utf8:
                _check_utf8(content)
            table = pyarrow.csv.read_csv(
                content,
                read_options=options,
                parse_options=self._parse,
                convert_options=self._convert,
            )
            for name in MONEY.intersection(self._present):
                # Too many digits before the point pass pyarrow's parser, and come out as another number.
                table.column(name).validate(full=True)
        except pa.ArrowInvalid as e:
            problem = str(e)
        else:
            return table
        for _ in read_columns(chunk, self._header, line, self._present):
            pass  # raises where the problem is, in our words
        raise CdrExportFormatError(f"somewhere in the lines from {line}: {problem}")

    def gather(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Tables of :data:`ROW_GROUP_ROWS` or a few more rows each.

        :param tables: from :meth:`read`.
        """
        gathered, rows = [], 0
        for table in tables:
            gathered.append(table)
            rows += table.num_rows
            if rows >= ROW_GROUP_ROWS:
                yield pa.concat_tables(gathered)
                gathered, rows = [], 0
        if rows:
            yield pa.concat_tables(gathered)

    def figures(self, table: pa.Table) -> Totals:
        """What a table's rows add up to."""
        starts = table.column("start_time")
        ends = pc.min_max(starts)
        first, last = (_instant(ends[end].value) for end in ("min", "max"))
        return Totals(
            rows=table.num_rows,
            total_cost=self._total(table, "total_cost"),
            billed_seconds=self._total(table, "billed_duration"),
            first_start=first,
            last_start=last,
            without_start=starts.null_count,
        )

    def _total(self, table: pa.Table, column: str) -> Any:
        if column not in self._present:
            return None
        return pc.sum(table.column(column), min_count=0).as_py()

    def ids(self, table: pa.Table) -> HashedIds | None:
        """The ``cdr_id`` of each row that has one."""
        if "cdr_id" not in self._present:
            return None
        ids = table.column("cdr_id").drop_null().combine_chunks()
        return _hashed(ids) if len(ids) else None


def _check_utf8(content: pa.Buffer) -> None:
    """Make sure that a chunk is UTF-8 text, as a whole: a fifth of the work of value by value.

    :raises pa.ArrowInvalid: it is not.
    """
    ends = pa.py_buffer(np.array([0, content.size], np.int32))
    pa.Array.from_buffers(pa.binary(), 1, [None, ends, content]).cast(pa.string())


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def _hashed(ids: pa.StringArray) -> HashedIds:
    """Multilinear: each word of eight bytes times an odd number of its own, then mixed, so that all bits count."""
    begin, width = _uniform(ids)
    if not width:
        ids = _filled_up(ids)
        begin, width = _uniform(ids)
    texts = memoryview(ids.buffers()[2])[begin : begin + width * len(ids)]
    hashes = np.zeros(len(ids), np.uint64)
    for word, odd in enumerate(_ODD[: -(-width // 8)]):
        kind = np.uint64 if width - word * 8 >= 8 else np.uint32
        hashes += np.ndarray(len(ids), kind, texts, word * 8, width) * odd
    hashes ^= hashes >> np.uint64(32)
    hashes *= _ODD[0]
    hashes ^= hashes >> np.uint64(29)
    return HashedIds(hashes.tobytes(), texts, width)


def _uniform(ids: pa.StringArray) -> tuple[int, int]:
    """Where the first id begins, and the bytes that each has; 0 if they differ, are too many, or not whole words."""
    ends = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    width = int(ends[1] - ends[0])
    fits = width <= ID_BYTES and width % 4 == 0 and bool((np.diff(ends) == width).all())
    return int(ends[0]), width if fits else 0


def _filled_up(ids: pa.StringArray) -> pa.StringArray:
    """Ids cut to :data:`ID_BYTES`, and filled up with zero bytes to the same width, of whole words."""
    longest = pc.max(pc.binary_length(ids)).as_py()
    if longest > ID_BYTES:
        ids = pc.utf8_slice_codeunits(ids, 0, ID_BYTES // 4)
        longest = ID_BYTES
    return pc.ascii_rpad(ids, width=-(-longest // 8) * 8, padding="\0")


class CdrParquetWriter:
    """Writes tables to a Parquet file, a row group each.

    :param path: the file.
    :param schema: of each table.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
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

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write the footer.

        :param metadata: goes into the footer, as JSON where it is not text, below ``flowroute.``.
        """
        self._writer.add_key_value_metadata(
            {
                f"flowroute.{name}": value if isinstance(value, str) else json.dumps(value)
                for name, value in metadata.items()
            }
        )
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file as it is; whoever made it removes it."""
        with suppress(OSError):  # no space for a footer either
            self._writer.close()
