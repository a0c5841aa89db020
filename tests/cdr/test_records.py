"""Reading a result file: whole or refused, and its records counted as csv counts them."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.records import BLOCK_BYTES, COLUMNS, RowCounter, Tee, inflate
from airflow_provider_flowroute.exceptions import CdrExportIntegrityError

CSV = b"direction,number_alias\nOutbound,Office Line 2\nInbound,\n"


class Stream(io.RawIOBase):
    """Bytes as a raw stream that gives few at a time, as a socket does."""

    def __init__(self, content: bytes, at_once: int = 7) -> None:
        self._file = io.BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._at_once))
        buffer[: len(data)] = data
        return len(data)


def inflated(content: bytes) -> bytes:
    return b"".join(inflate(Stream(content)))


def test_the_columns_are_the_29_of_todays_files_and_begin_with_the_25_of_older_ones():
    assert len(COLUMNS) == len(set(COLUMNS)) == 29
    assert COLUMNS[0] == "direction"
    assert COLUMNS[24] == "customer_ip"
    assert COLUMNS[25:] == ("sip_callid", "cdr_id", "sip_from_tag", "sip_to_tag")


@pytest.mark.parametrize("csv_bytes", [CSV, b"", CSV * 100_000], ids=["small", "empty", "many blocks"])
def test_a_whole_file_is_inflated(csv_bytes: bytes):
    assert b"".join(inflate(Stream(gzip.compress(csv_bytes), at_once=BLOCK_BYTES))) == csv_bytes


def test_a_file_of_several_gzip_members_is_inflated_to_its_last():
    assert inflated(gzip.compress(CSV) + gzip.compress(b"more\n")) == CSV + b"more\n"


@pytest.mark.parametrize("end", range(len(gzip.compress(CSV))))
def test_a_file_cut_at_any_byte_is_refused_even_before_its_first(end: int):
    with pytest.raises(CdrExportIntegrityError, match="the gzip stream is not whole"):
        inflated(gzip.compress(CSV)[:end])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(CSV)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(CSV)[:20] + b"\xff\xff" + gzip.compress(CSV)[22:], id="wrong bytes"),
        pytest.param(CSV, id="no gzip at all"),
        pytest.param(zlib.compress(CSV), id="another compression"),
        pytest.param(gzip.compress(CSV) + b"<html>", id="something behind it"),
    ],
)
def test_a_damaged_file_is_refused(content: bytes):
    with pytest.raises(CdrExportIntegrityError, match="the gzip stream is not whole") as caught:
        inflated(content)
    assert caught.value.transient


def test_a_tee_copies_the_very_bytes_that_pass():
    content, copy = gzip.compress(CSV), io.BytesIO()

    with Tee(Stream(content), copy) as tee:
        assert b"".join(inflate(tee)) == CSV
    assert copy.getvalue() == content


def rows_of(content: bytes, cuts: list[float]) -> int:
    """Count with the content cut at these fractions of it."""
    counter = RowCounter()
    ends = [0, *sorted(int(cut * len(content)) for cut in cuts), len(content)]
    for begin, end in pairwise(ends):
        counter.feed(content[begin:end])
    return counter.rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", 0),
        (b"header", 0),
        (b"header\n", 0),
        (b"header\nrow\n", 1),
        (b"header\nlast row without a line end", 1),
        (b"header\r\nrow\r\nrow\r\n", 2),
        (b'header\n"two\nlines"\nrow\n', 2),
        (b'header\n"a ""quoted""\nword"\n', 1),
        (b'header\n"""\n"""\n', 1),
        (b'header\n"",""\n', 1),
    ],
)
def test_records_are_counted_without_the_header(content: bytes, rows: int):
    assert rows_of(content, []) == rows
    assert rows_of(content, [byte / max(1, len(content)) for byte in range(len(content))]) == rows
    assert rows_of(content, [1, 1]) == rows


# What a writer leaves unquoted cannot hold a quote, and no writer leaves a line end unquoted.
cells = st.text(alphabet=st.sampled_from('a,"\n ') | st.characters(exclude_characters="\r", codec="utf-8"))
tables = st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=8)


@given(
    table=tables,
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    has_last_line_end=st.booleans(),
    cuts=st.lists(st.floats(0, 1)),
)
def test_the_count_is_that_of_pythons_csv_reader_wherever_the_blocks_are_cut(
    table: list[list[str]], line_end: str, quoting: int, has_last_line_end: bool, cuts: list[float]
):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(table)  # type: ignore[call-overload]
    content = text.getvalue() if has_last_line_end else text.getvalue().removesuffix(line_end)

    assert rows_of(content.encode(), cuts) == len(list(csv.reader(io.StringIO(content, newline="")))) - 1
