"""What a landed Parquet file says of itself, in the key-value metadata of its footer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.cdr.columns import FEE_COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.landing.publish import landing_error
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_PREFIX = "flowroute."
#: Bytes that are read from the end of a file. They hold the footer of a file of about 20 row groups.
TAIL_BYTES = 64 * 1024
#: The length of the footer (little-endian) and the magic bytes are the end of each Parquet file.
_LENGTH_BYTES, _MAGIC = 4, b"PAR1"
#: The schemes whose file systems read the last bytes of a file with one request. Others need its size first.
_SUFFIX_READS = frozenset({"s3", "s3a", "s3n", "gs", "gcs"})


@dataclass(frozen=True)
class Footer:
    """The footer of a landed file.

    :param export_id: the ID of the export that the file was made from.
    :param window: the window of the file: of the export, or of one day; None if Flowroute reported none.
    :param totals: the totals of the file.
    :param checks: the reconciliation of the whole export, as :meth:`Reconciliation.as_json` returns it.
    :param export_window: the window of the export.
    :param columns: the columns of the file.
    :param size: bytes of the file.
    """

    export_id: str
    window: Window | None
    totals: Totals
    checks: Mapping[str, Mapping[str, Any]]
    export_window: Window | None
    columns: tuple[str, ...] = ()
    size: int = 0

    @property
    def reconciled(self) -> bool:
        """Whether no check of the export failed."""
        return all(check["passed"] is not False for check in self.checks.values())

    @property
    def is_comparable(self) -> bool:
        """Whether its totals can be compared with the figures of a new export."""
        return self.reconciled and self.totals.fees.keys() == FEE_COLUMNS.keys()


def footer_metadata(
    export: CdrExport, result: Reconciliation, window: Window | None = None, totals: Totals | None = None
) -> Mapping[str, str]:
    """Return the metadata of a file: export, window, totals and checks.

    :param export: the export that the file holds, or a part of it.
    :param result: the reconciliation of the export.
    :param window: the window of the file; None for that of the export.
    :param totals: the totals of the file; None for those of the export.
    """
    values: dict[str, Any] = {
        "export_id": export.id,
        **_window_values("", window or export.window),
        **_window_values("export_", export.window),
        "provider_version": __version__,
        "totals": (totals or result.totals).as_json(),
        "reconciliation": result.as_json(),
    }
    return {
        f"{_PREFIX}{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _window_values(prefix: str, window: Window | None) -> dict[str, str]:
    return {
        f"{prefix}window_start": window.start.isoformat() if window else "",
        f"{prefix}window_end": window.end.isoformat() if window else "",
    }


def read_footer(path: ObjectStoragePath) -> Footer | None:
    """Read the footer of a landed file, with at most three requests: its size, its end, and a longer end if needed.

    On S3 and Google Cloud Storage, the size needs no request.

    :param path: a Parquet file, on a local disk or in object storage.
    :return: None if there is no such file, or if this package did not write it.
    :raises CdrExportLandingError: the file cannot be read.
    """
    try:
        size = None if path.protocol in _SUFFIX_READS else _size_of(path)
        tail = _read_end(path, size, TAIL_BYTES)
        if size is None and not tail.endswith(
            _MAGIC
        ):  # some servers of S3's API return other bytes for a suffix
            size = _size_of(path)
            tail = _read_end(path, size, TAIL_BYTES)
        if not tail.endswith(_MAGIC):
            return None
        needed = int.from_bytes(tail[-len(_MAGIC) - _LENGTH_BYTES : -len(_MAGIC)], "little")
        needed += _LENGTH_BYTES + len(_MAGIC)
        # A file of 64 KiB or less was read completely.
        if len(tail) == TAIL_BYTES and needed > TAIL_BYTES:
            tail = _read_end(path, size, needed)
    except (FileNotFoundError, IsADirectoryError):
        return None
    # Everything, because each file system raises the errors of its own HTTP library.
    except Exception as e:  # noqa: BLE001
        error = landing_error(e, f"{path} cannot be read.")
    else:
        return _parse(tail)
    raise error  # outside the except block: the chained error would show what is redacted


def _size_of(path: ObjectStoragePath) -> int:
    file_system: Any = path.fs
    file_system.invalidate_cache()  # another process may have replaced the file
    return int(file_system.info(path.path)["size"])


def _read_end(path: ObjectStoragePath, size: int | None, length: int) -> bytes:
    file_system: Any = path.fs
    if size is None:
        try:
            return bytes(file_system.cat_file(path.path, start=-length))
        # Everything, as above: an empty object has no last byte, and the read of it fails.
        except Exception:
            if _size_of(path):
                raise
            return b""
    return bytes(file_system.cat_file(path.path, start=max(0, size - length), end=size)) if size else b""


def _parse(tail: bytes) -> Footer | None:
    """Parse the end of a Parquet file; return None if it is another program's."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + tail))
    except (pa.ArrowException, ValueError):
        return None
    return footer_of(metadata, _size_by(metadata))


def _size_by(metadata: pq.FileMetaData) -> int:
    """Return the bytes of a file whose footer follows its last column, as in the files of this package."""
    end = len(_MAGIC)
    if metadata.num_row_groups:
        row_group = metadata.row_group(metadata.num_row_groups - 1)
        column = row_group.column(row_group.num_columns - 1)
        start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        end = start + column.total_compressed_size
    return int(end + metadata.serialized_size + _LENGTH_BYTES + len(_MAGIC))


def footer_of(metadata: pq.FileMetaData, size: int = 0) -> Footer | None:
    """Return what the metadata of a Parquet file says; None if this package did not write the file.

    :param metadata: as pyarrow reads it.
    :param size: bytes of the file.
    """
    try:
        values = {
            name.decode(): value.decode()
            for name, value in (metadata.metadata or {}).items()
            if name.startswith(_PREFIX.encode())
        }
        return parse_metadata(values, tuple(metadata.schema.to_arrow_schema().names), size)
    except (pa.ArrowException, ValueError):
        return None


def parse_metadata(
    metadata: Mapping[str, str], columns: tuple[str, ...] = (), size: int = 0
) -> Footer | None:
    """Parse what :func:`footer_metadata` returned.

    :param metadata: the metadata of a file, or the properties of a snapshot.
    :param columns: the columns of the file.
    :param size: bytes of the file.
    :return: None if this package did not write it.
    """
    values = {
        name.removeprefix(_PREFIX): value for name, value in metadata.items() if name.startswith(_PREFIX)
    }
    try:
        window = _window_of(values, "")
        return Footer(
            export_id=values["export_id"],
            window=window,
            totals=Totals.from_json(json.loads(values["totals"])),
            checks=json.loads(values["reconciliation"]),
            # A file of an earlier version holds an export.
            export_window=_window_of(values, "export_") if "export_window_start" in values else window,
            columns=columns,
            size=size,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _window_of(values: Mapping[str, str], prefix: str) -> Window | None:
    start, end = values[f"{prefix}window_start"], values[f"{prefix}window_end"]
    return Window(start, end) if start and end else None  # type: ignore[arg-type]  # Window parses text
