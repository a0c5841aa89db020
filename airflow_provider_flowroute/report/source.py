"""Find landed files, and read what their footers say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, Union, cast
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem
from upath import UPath

from airflow_provider_flowroute.cdr.window import Window, midnight
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.landing.footer import Footer, footer_of
from airflow_provider_flowroute.landing.publish import is_local
from airflow_provider_flowroute.report.aggregate import FORMAT, SCHEMA
from airflow_provider_flowroute.report.data import DayState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from fsspec import AbstractFileSystem

#: A local path or a URL.
PathLike: TypeAlias = Union[str, "os.PathLike[str]", UPath]
#: Footers that are read at a time. An object store answers a request after some milliseconds.
_READERS = 16
_SUFFIX = ".parquet"


@dataclass(frozen=True)
class LandedFile:
    """A landed Parquet file.

    :param name: its path.
    :param window: from its footer; None if the footer has none.
    :param checks: the results of the checks in its footer: passed, failed, or None for a skipped check.
    :param fragment: reads its rows.
    """

    name: str
    window: Window | None
    checks: Sequence[bool | None]
    fragment: ds.ParquetFileFragment

    def is_in(self, start: datetime, end: datetime) -> bool:
        """Return whether the file can have calls that start in a period."""
        return self.window is None or (self.window.start < end and start < self.window.end)


def as_path(value: PathLike) -> ObjectStoragePath:
    """Return a path of a file system. A path without ``://`` is local, and does not import Airflow.

    :param value: a local path or a URL of ``ObjectStoragePath``.
    :raises FlowrouteValueError: there is no file system for the URL.
    """
    if isinstance(value, UPath):
        return cast("ObjectStoragePath", value)
    text = os.fspath(value)
    if "://" not in text:
        return cast("ObjectStoragePath", UPath(os.path.abspath(os.path.expanduser(text))))
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(text)
        _ = path.fs
    except (ValueError, ImportError) as e:  # unknown scheme, or its library is not installed
        raise FlowrouteValueError(
            f"There is no file system for {text!r}.\n{e}\nInstall the Airflow provider for its scheme."
        ) from None
    return path


def read_files(paths: Iterable[PathLike]) -> list[LandedFile]:
    """Find landed files, and read their footers in parallel.

    :param paths: files, folders, globs or URLs.
    :raises FlowrouteValueError: there is no file, a file is no Parquet file, or it lacks columns.
    """
    fragments: dict[tuple[AbstractFileSystem, str], ds.ParquetFileFragment] = {}
    for value in paths:
        path = as_path(value)
        names = list(_find(path))
        if not names:
            raise _no_file(str(path))
        filesystem = LocalFileSystem() if is_local(path) else PyFileSystem(FSSpecHandler(path.fs))
        for name in names:
            fragments.setdefault((path.fs, name), FORMAT.make_fragment(name, filesystem=filesystem))
    # A file system without its own event loop may not be used by several threads.
    safe = all(getattr(files, "async_impl", False) or files.protocol[0] == "file" for files, _ in fragments)
    with ThreadPoolExecutor(_READERS if safe else 1, thread_name_prefix="flowroute-footers") as threads:
        return list(threads.map(_read, fragments.values()))


def _find(path: ObjectStoragePath) -> Iterator[str]:
    """Yield the files of a path. A path that ends in .parquet is a file, without a request to the store."""
    name, files = path.path, path.fs
    if name.endswith(_SUFFIX) and not any(mark in name for mark in "*?["):
        yield name
        return
    files.invalidate_cache()  # another process may have landed files
    for found, info in sorted(files.glob(name, detail=True).items()):
        if info["type"] == "directory":
            yield from (file for file in sorted(files.find(found)) if file.endswith(_SUFFIX))
        else:
            yield found


def _read(fragment: ds.ParquetFileFragment) -> LandedFile:
    name = fragment.path
    try:
        schema, metadata = fragment.physical_schema, fragment.metadata
    except FileNotFoundError:
        raise _no_file(name) from None
    except (pa.ArrowInvalid, OSError) as e:
        raise FlowrouteValueError(
            f"{os.path.basename(name)} is not a Parquet file that can be read.\n"
            f"The file is {name}. {str(e).strip().splitlines()[0]}\n"
            f"Give only the paths of files that were landed with file_format='parquet'."
        ) from None
    wrong = [
        column.name
        for column in SCHEMA
        if column.name not in schema.names or schema.field(column.name).type != column.type
    ]
    if wrong:
        raise FlowrouteValueError(
            f"{os.path.basename(name)} lacks columns of a landed file.\n"
            f"The file is {name}. These columns are missing or have another type: {', '.join(wrong)}.\n"
            f"Land the file with CdrExportToObjectStorageOperator and file_format='parquet'."
        )
    footer = footer_of(metadata)
    if footer is None:
        return LandedFile(name, None, (), fragment)
    return LandedFile(name, footer.window, _checks(footer), fragment)


def _no_file(path: str) -> FlowrouteValueError:
    return FlowrouteValueError(
        f"There is no landed file at {os.path.basename(path)!r}.\n"
        f"The path is {path}. Only files that end in .parquet are read from a folder.\n"
        f"Give the path of a Parquet file, a folder, a glob in quotation marks, or a URL."
    )


def _checks(footer: Footer) -> list[bool | None]:
    results = {name: check["passed"] for name, check in footer.checks.items()}
    if results.get("cdr_id", False) is None:
        del results["cdr_id"]  # older files have no such column, which is normal
    return list(results.values())


def period_of(files: Sequence[LandedFile], zone: ZoneInfo) -> tuple[date, date] | None:
    """Return the first day that the files' windows cover, and the day after the last; None without a window."""
    windows = [file.window for file in files if file.window]
    if not windows:
        return None
    first = min(window.start for window in windows).astimezone(zone)
    last = max(window.end for window in windows).astimezone(zone)
    begins_new_day = last == midnight(last.date(), zone)
    return first.date(), last.date() + timedelta(days=not begins_new_day)


def files_by_day(files: Iterable[LandedFile], zone: ZoneInfo) -> Mapping[date, Sequence[LandedFile]]:
    """Return the files whose windows have a part of a day, for each local day."""
    days: dict[date, list[LandedFile]] = defaultdict(list)
    for file in files:
        if file.window is not None:
            first, last = (
                instant.astimezone(zone).date() for instant in (file.window.start, file.window.end)
            )
            for number in range((last - first).days + 1):
                days[first + timedelta(days=number)].append(file)
    return days


def day_state(day: Window, files: Sequence[LandedFile]) -> DayState:
    """Return the state of a day.

    :param day: the window of the day.
    :param files: those that may have a part of it.
    """
    landed = [(file.window, file.checks) for file in files if file.window and file.is_in(day.start, day.end)]
    if not landed:
        return DayState.MISSING
    landed.sort(key=lambda item: item[0].start)
    covered_to, overlap, gap = day.start, False, False
    for window, _ in landed:
        begins = max(window.start, day.start)
        gap |= begins > covered_to
        overlap |= begins < covered_to
        covered_to = max(covered_to, window.end)
    results = [passed for _, checks in landed for passed in checks or (None,)]
    if overlap:
        return DayState.OVERLAP
    if gap or covered_to < day.end:
        return DayState.PARTIAL
    if False in results:
        return DayState.MISMATCH
    return DayState.UNCHECKED if None in results else DayState.COMPLETE
