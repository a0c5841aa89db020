"""Reading a result file: whole or refused, and cut between records only."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import sys
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.exceptions import CdrExportFormatError, CdrExportIntegrityError
from airflow_provider_flowroute.landing import csv_stream
from airflow_provider_flowroute.landing.csv_stream import (
    BLOCK_BYTES,
    Header,
    Tee,
    inflate,
    read_columns,
    read_header,
    split_records,
    with_line_numbers,
)

CSV = b"direction,number_alias\nOutbound,Office Line 2\nInbound,\n"


NAMES = ",".join(COLUMNS)


@pytest.fixture(params=["isal", "standard library"], autouse=True)
def _inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All holds with the one that inflates faster and with the one that is always there."""
    if request.param == "standard library":
        monkeypatch.setitem(sys.modules, "isal.igzip", None)


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


def test_zeros_behind_a_member_are_padding_however_many():
    assert (
        inflated(gzip.compress(CSV) + bytes(2 * BLOCK_BYTES) + gzip.compress(b"more\n") + b"\0")
        == CSV + b"more\n"
    )


def test_a_tee_copies_the_very_bytes_that_pass():
    content, copy = gzip.compress(CSV), io.BytesIO()

    with Tee(Stream(content), copy) as tee:
        assert b"".join(inflate(tee)) == CSV
    assert copy.getvalue() == content


def test_an_object_without_a_byte_is_an_empty_file_where_that_is_expected():
    assert list(inflate(Stream(b""), may_be_empty=True)) == []
    assert inflated(gzip.compress(b"")) == b""


def cut(content: bytes, cuts: list[float]) -> tuple[Header, list[bytes]]:
    """Read with the content in blocks that end at these fractions of it."""
    ends = [0, *sorted(int(part * len(content)) for part in cuts), len(content)]
    header, chunks = read_header(split_records(content[begin:end] for begin, end in pairwise(ends)))
    return header, list(chunks)


def a_file(*rows: str, header: str = NAMES, end: str = "\n") -> bytes:
    return "".join(line + end for line in (header, *rows)).encode()


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (b"", b""),
        (NAMES.encode(), b""),
        (a_file(), b""),
        (a_file("row"), b"row\n"),
        (a_file("no line end").removesuffix(b"\n"), b"no line end"),
        (a_file("row", "row", end="\r\n"), b"row\r\nrow\r\n"),
        (a_file('"two\nlines"', "row"), b'"two\nlines"\nrow\n'),
        (a_file('"a ""quoted""\nword"'), b'"a ""quoted""\nword"\n'),
        (a_file('"""\n"""'), b'"""\n"""\n'),
        ("\ufeff".encode() + a_file("row"), b"row\n"),
    ],
)
def test_the_header_is_read_and_the_rest_handed_on_byte_for_byte_wherever_the_blocks_end(content, rest):
    every_byte = [byte / max(1, len(content)) for byte in range(len(content))]
    for cuts in ([], every_byte, [0.5, 0.5, 1, 1]):
        header, chunks = cut(content, cuts)
        assert header.names == COLUMNS
        assert b"".join(chunks) == rest


# What a writer leaves unquoted cannot hold a quote, and no writer leaves a line end unquoted.
cells = st.text(alphabet=st.sampled_from('a,"\n ') | st.characters(exclude_characters="\r", codec="utf-8"))
tables = st.lists(
    st.lists(cells, min_size=4, max_size=4).filter(lambda row: row != [""] * 4), min_size=1, max_size=8
)


@given(
    table=tables,
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    has_last_line_end=st.booleans(),
    cuts=st.lists(st.floats(0, 1)),
)
def test_every_chunk_holds_whole_records_wherever_the_blocks_end(
    table: list[list[str]], line_end: str, quoting: int, has_last_line_end: bool, cuts: list[float]
):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=quoting)  # type: ignore[call-overload]
    writer.writerows([["direction", "start_time", "destination", "callerid"], *table])
    content = text.getvalue() if has_last_line_end else text.getvalue().removesuffix(line_end)

    _, chunks = cut(content.encode(), cuts)

    read = [row for chunk in chunks for row in csv.reader(io.StringIO(chunk.decode(), newline=""))]
    assert read == table


@pytest.mark.parametrize("without", [(), ("numpy",)], ids=["numpy", "bytes.count"])
def test_each_chunk_is_known_by_its_line_in_the_file(monkeypatch, without):
    for module in without:
        monkeypatch.setitem(sys.modules, module, None)
    chunks = [b"a\nb\n", b'"two\nlines"\n', b"\n", b"no line end"]

    assert list(with_line_numbers(chunks)) == list(zip(chunks, (2, 4, 6, 7), strict=True))


def test_a_quote_that_is_never_closed_is_an_error_and_not_a_worker_out_of_memory(monkeypatch):
    monkeypatch.setattr(csv_stream, "LONGEST_RECORD", 1000)
    blocks = [a_file('"never closed', "x" * 600), b"y" * 600, b"z" * 600]

    with pytest.raises(CdrExportFormatError, match=r"never closed.*begins with"):
        list(split_records(blocks))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("direction,start_time,callerid", ["lacks destination"]),
        ("id,status", ["lacks direction, start_time, destination, callerid"]),
        ("<html>", ["line 1", "<html>"]),
        (f"{NAMES},direction", ["direction twice"]),
        (f"{NAMES},", ["no name for column 30"]),
    ],
)
def test_a_header_that_cannot_be_right_is_an_error_that_says_what_is_wrong_with_it(header, words):
    with pytest.raises(CdrExportFormatError) as caught:
        cut(a_file(header=header), [])

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not caught.value.transient


def test_a_header_that_is_no_text_is_an_error():
    with pytest.raises(CdrExportFormatError, match="line 1: the header is not UTF-8"):
        cut(b"\xff\xfe" + NAMES.encode("utf-16-le"), [])


def test_missing_columns_come_last_and_are_warned_of_and_unknown_ones_keep_their_place(caplog):
    header, _ = cut(a_file(header="new,direction,start_time,destination,callerid"), [])
    with caplog.at_level(logging.INFO):
        header.tell()

    assert header.columns[:5] == ("new", "direction", "start_time", "destination", "callerid")
    assert header.columns[5:] == header.missing == tuple(name for name in COLUMNS if name not in header.names)
    unknown, missing = caplog.records
    assert (unknown.levelname, missing.levelname) == ("INFO", "WARNING")
    assert "does not know, kept as text: new." in unknown.getMessage()
    assert "lacks the columns end_time, number_alias" in missing.getMessage()


def test_a_todays_file_has_nothing_to_tell(caplog):
    with caplog.at_level(logging.INFO):
        Header(COLUMNS).tell()

    assert caplog.records == []


FOUR = Header(("direction", "start_time", "destination", "callerid"))


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (b"a,,b\n", ["line 7:", "3 fields instead of 4", "'b'"]),
        (b'a,,b,"x\ny"\na,,b,c,d\n', ["line 9:", "5 fields instead of 4"]),
        (b"a,,b,c\n\na,soon,b,c\n", ["line 9, column start_time: 'soon' is not a time"]),
        (b"a,,b,c\na,,\xff,c\n", ["line 8:", "not UTF-8"]),
    ],
)
def test_an_error_in_a_row_names_line_and_column(chunk, words):
    with pytest.raises(CdrExportFormatError) as caught:
        list(read_columns(chunk, FOUR, 7, ["start_time"]))

    assert all(word in str(caught.value) for word in words), str(caught.value)
