"""A gzip file is complete or refused, and its header is usable or refused."""

from __future__ import annotations

import gzip
import io
import logging
import zlib

import pytest

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.exceptions import CdrExportFormatError, CdrExportIntegrityError
from airflow_provider_flowroute.landing.csv_stream import CsvStream, Header, Tee, read_header

CSV = b"direction,number_alias\nOutbound,Office Line 2\nInbound,\n"
NAMES = ",".join(COLUMNS)
BLOCK = 1 << 21


class Stream(io.RawIOBase):
    """Bytes as a raw stream that returns few at a time, as a socket does."""

    def __init__(self, content: bytes, at_once: int = 7) -> None:
        self._file = io.BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._at_once))
        buffer[: len(data)] = data
        return len(data)


def inflate(content: bytes) -> bytes:
    return CsvStream(Stream(content)).read()


@pytest.mark.parametrize("csv_bytes", [CSV, b"", CSV * 100_000], ids=["small", "empty", "many blocks"])
def test_a_complete_file_is_inflated(csv_bytes: bytes):
    stream = CsvStream(Stream(gzip.compress(csv_bytes), at_once=BLOCK))

    assert b"".join(iter(lambda: stream.read(BLOCK), b"")) == csv_bytes


def test_a_file_of_several_gzip_members_is_inflated_to_its_end():
    assert inflate(gzip.compress(CSV) + gzip.compress(b"more\n")) == CSV + b"more\n"


@pytest.mark.parametrize("end", range(len(gzip.compress(CSV))))
def test_a_file_cut_at_any_byte_is_refused(end: int):
    with pytest.raises(CdrExportIntegrityError, match="The gzip stream is incomplete"):
        inflate(gzip.compress(CSV)[:end])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(CSV)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(CSV)[:20] + b"\xff\xff" + gzip.compress(CSV)[22:], id="wrong bytes"),
        pytest.param(CSV, id="no gzip at all"),
        pytest.param(zlib.compress(CSV), id="another compression"),
        pytest.param(gzip.compress(CSV) + b"<html>", id="other bytes after the end"),
    ],
)
def test_a_damaged_file_is_refused(content: bytes):
    with pytest.raises(CdrExportIntegrityError, match="The gzip stream is incomplete or damaged") as caught:
        inflate(content)
    assert caught.value.transient


def test_the_error_of_a_damaged_file_is_raised_again_by_each_read():
    stream = CsvStream(Stream(gzip.compress(CSV)[:-1]))

    for _ in range(2):
        with pytest.raises(CdrExportIntegrityError):
            stream.drain()


def test_zeros_after_a_member_are_padding_however_many():
    packed = gzip.compress(CSV) + bytes(2 * BLOCK) + gzip.compress(b"more\n") + b"\0"

    assert inflate(packed) == CSV + b"more\n"


def test_a_tee_copies_the_bytes_unchanged():
    content, copy = gzip.compress(CSV), io.BytesIO()

    with Tee(Stream(content), copy) as tee:
        assert CsvStream(tee).read() == CSV
    assert copy.getvalue() == content


def test_the_inflated_bytes_are_copied_whichever_way_they_are_read():
    copy = io.BytesIO()
    stream = CsvStream(Stream(gzip.compress(CSV)), copy=copy)

    assert stream.readline() == CSV.splitlines(keepends=True)[0]
    assert stream.peek(1)[:1] == b"O"
    assert stream.read(3) == b"Out"
    stream.drain()

    assert copy.getvalue() == CSV


def test_an_object_without_a_byte_is_an_empty_file_where_expected():
    assert CsvStream(Stream(b""), may_be_empty=True).read() == b""
    assert inflate(gzip.compress(b"")) == b""


def a_file(*rows: str, header: str = NAMES, end: str = "\n") -> bytes:
    return "".join(line + end for line in (header, *rows)).encode()


def header_of(content: bytes) -> tuple[Header, bytes]:
    """The header of a file, and the bytes after it."""
    stream = CsvStream(Stream(gzip.compress(content)))
    return read_header(stream), stream.read()


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (b"", b""),
        (NAMES.encode(), b""),
        (a_file(), b""),
        (a_file("row"), b"row\n"),
        (a_file("row", "row", end="\r\n"), b"row\r\nrow\r\n"),
        ("\ufeff".encode() + a_file("row"), b"row\n"),
    ],
)
def test_the_header_is_read_and_the_rest_is_left_unread(content: bytes, rest: bytes):
    header, left = header_of(content)

    assert header.names == COLUMNS
    assert left == rest


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("direction,start_time,callerid", ["lacks required columns: destination"]),
        ("id,status", ["lacks required columns: direction, start_time, destination, callerid"]),
        ("<html>", ["line 1", "<html>"]),
        (f"{NAMES},direction", ["duplicate columns: direction"]),
        (f"{NAMES},", ["no name for column 30"]),
        ("", ["lacks required columns"]),
    ],
)
def test_an_unusable_header_is_an_error_that_names_the_problem(header: str, words: list[str]):
    with pytest.raises(CdrExportFormatError) as caught:
        header_of(a_file("row", header=header))

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not caught.value.transient


def test_a_header_that_is_not_text_is_an_error():
    with pytest.raises(CdrExportFormatError, match=r"line 1.*not UTF-8"):
        header_of(b"\xff\xfe" + NAMES.encode("utf-16-le"))


def test_a_file_without_a_line_end_does_not_fill_the_memory():
    with pytest.raises(CdrExportFormatError) as caught:
        header_of(b"x" * (5 << 20))

    assert len(str(caught.value)) < 1000


def test_missing_columns_come_last_and_unknown_ones_keep_their_place(caplog):
    """Missing columns are logged as a warning, unknown ones at INFO."""
    header, _ = header_of(a_file(header="new,direction,start_time,destination,callerid"))
    with caplog.at_level(logging.INFO):
        header.log_unusual_columns()

    assert header.columns[:5] == ("new", "direction", "start_time", "destination", "callerid")
    assert header.columns[5:] == header.missing == tuple(name for name in COLUMNS if name not in header.names)
    unknown, missing = caplog.records
    assert (unknown.levelname, missing.levelname) == ("INFO", "WARNING")
    assert "unknown columns. They are kept as text: new." in unknown.getMessage()
    assert "lacks the columns end_time, number_alias" in missing.getMessage()


def test_a_current_file_logs_nothing_about_its_columns(caplog):
    with caplog.at_level(logging.INFO):
        Header(COLUMNS).log_unusual_columns()

    assert caplog.records == []
