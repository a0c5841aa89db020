"""Publish a file atomically: write it to a temporary place, and move or upload it at the end."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_flowroute.api.presigned_urls import redact_presigned_urls
from airflow_provider_flowroute.exceptions import CdrExportLandingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_In = TypeVar("_In")
_Out = TypeVar("_Out")
log = logging.getLogger(__name__)

#: Stands for the day in the path of day files.
DATE = "{date}"
#: Files that are read or uploaded at the same time. A larger file is uploaded in three parts of 8 MiB at a time.
_PARALLEL = 4
#: Seconds between two progress lines of a long step.
PROGRESS_INTERVAL = 10.0
# The defaults take up to 500 MB of memory: s3fs sends 10 parts of 50 MiB at a time, adlfs 128 blocks of 4 MiB.
_S3 = {"chunksize": 8 << 20, "max_concurrency": 3}
_GOOGLE = {"chunksize": 8 << 20}
_AZURE = {"max_concurrency": 4}
_UPLOAD_OPTIONS = {
    "s3": _S3, "s3a": _S3, "s3n": _S3, "gs": _GOOGLE, "gcs": _GOOGLE, "abfs": _AZURE, "abfss": _AZURE, "adl": _AZURE
}  # fmt: skip


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether a path is on the disk of this machine."""
    return path.protocol in ("", "file", "local")


def bucket_of(path: ObjectStoragePath) -> str:
    """Return the bucket or container of a path, without the connection ID that Airflow 2 and 3.1 leave there."""
    return str(path.bucket.rpartition("@")[2])


def path_of(pattern: ObjectStoragePath, day: date) -> ObjectStoragePath:
    """Return the path of a day's file.

    :param pattern: a path with :data:`DATE`.
    :param day: the day.
    """
    return type(pattern)(str(pattern).replace(DATE, day.isoformat()))


def folder_of(path: ObjectStoragePath) -> ObjectStoragePath:
    """Return the folder of a file, or the folder that has the files of all days.

    :param path: a path, or a pattern with :data:`DATE`.
    """
    return type(path)(str(path).partition(DATE)[0].rpartition("/")[0] or "/")


@contextmanager
def staging_folder(path: ObjectStoragePath) -> Iterator[Path]:
    """Yield an empty local folder for files that become ``path``. It is removed at the end.

    :param path: the target, or a pattern with :data:`DATE`. On a local disk the staging folder is beside it, because a
        rename is atomic only within a file system.
    """
    if not is_local(path):
        with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
            yield Path(directory)
        return
    folder = Path(os.path.realpath(folder_of(path).path))
    if DATE not in str(path):
        folder = Path(os.path.realpath(path.path)).parent  # of the file that a link names
    staging = folder / f".{path.name}.{uuid.uuid4().hex}.part"
    folder.mkdir(parents=True, exist_ok=True)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def publish(staged: Path, path: ObjectStoragePath) -> None:
    """Replace a file atomically.

    A remote file that is opened for writing is published incomplete if its block raises, so it is never opened.

    :param staged: a complete file in a :func:`staging_folder` of ``path``.
    :param path: the target, local or in an object store. Its folder is created, its bucket is not.
    :raises CdrExportLandingError: the object store does not accept the file.
    """
    if not is_local(path):
        _upload(staged, path)
        return
    target = Path(os.path.realpath(path.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with staged.open("rb") as file:
        os.fsync(file.fileno())  # after a power failure the new name could belong to an empty file
    staged.replace(target)


@contextmanager
def local_copy(path: ObjectStoragePath) -> Iterator[Path]:
    """Yield a local file with the content of ``path``: the file itself if it is local.

    :param path: an existing file.
    :raises CdrExportLandingError: the file cannot be read.
    """
    if is_local(path):
        yield Path(path.path)
        return
    with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
        copy = Path(directory, path.name)
        error: CdrExportLandingError | None = None
        try:
            path.fs.get_file(path.path, os.fspath(copy))
        # Everything, because each file system raises the errors of its own HTTP library.
        except Exception as e:  # noqa: BLE001
            error = landing_error(e, f"{path} cannot be read.")
        if error is not None:
            raise error  # outside the except block: the chained error would show what is redacted
        yield copy


def in_parallel(
    path: ObjectStoragePath, function: Callable[[_In], _Out], items: Iterable[_In]
) -> Iterator[_Out]:
    """Apply a function to each item, and return the results in order. After an error no further item is started.

    :param path: a path of the file system that the function uses. Only those with their own event loop are used by
        several threads.
    :param function: reads or writes a file.
    :param items: one for each file.
    """
    errors: list[BaseException] = []

    def apply(item: _In) -> _Out:
        if errors:
            raise errors[0]
        try:
            return function(item)
        except BaseException as e:
            errors.append(e)
            raise

    workers = _PARALLEL if getattr(path.fs, "async_impl", False) else 1
    with ThreadPoolExecutor(workers, thread_name_prefix="flowroute-landing") as threads:
        futures = [threads.submit(apply, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _upload(staged: Path, path: ObjectStoragePath) -> None:
    from fsspec.callbacks import Callback

    logged = time.monotonic()

    def log_progress(size: int | None, done: int, **_: Any) -> None:
        nonlocal logged
        if time.monotonic() - logged >= PROGRESS_INTERVAL:
            logged = time.monotonic()
            log.info("Uploading to %s: %.1f of %.1f MB.", path, done / 1e6, (size or 0) / 1e6)

    try:
        path.fs.put_file(
            os.fspath(staged),
            path.path,
            callback=Callback(hooks={"progress": log_progress}),
            **_UPLOAD_OPTIONS.get(path.protocol, {}),
        )
    # Everything, because each file system raises the errors of its own HTTP library. Most of them are no OSError.
    except Exception as e:  # noqa: BLE001
        error = landing_error(e)
    else:
        return
    raise error  # outside the except block: the chained error would show what is redacted


def landing_error(error: Exception, what: str = "") -> CdrExportLandingError:
    """Return the error of a file system as one of this package, without the secrets of a presigned URL.

    :param error: any error of a file system, or of its HTTP library.
    :param what: the first line of the message.
    """
    # For a status 4xx, Azure's errors have a status_code and gcsfs's have a code, or all raise a built-in type. The
    # exception is gcsfs's OSError for 403.
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    rejected = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
    builtin = isinstance(error, FileExistsError | FileNotFoundError | PermissionError | ValueError)
    text = f"{type(error).__name__}: {redact_presigned_urls(str(error)).strip()}"
    return CdrExportLandingError(
        f"{what}\n{text}" if what else text,
        transient=not (rejected or builtin or text.startswith("OSError: Forbidden")),
    )
