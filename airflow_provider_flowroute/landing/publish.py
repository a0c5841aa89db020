"""Publish a file atomically: write it to a temporary place, and move or upload it at the end."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_flowroute.api.presigned_urls import redact_presigned_urls
from airflow_provider_flowroute.exceptions import CdrExportLandingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

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


@contextmanager
def publish_atomically(path: ObjectStoragePath) -> Iterator[Path]:
    """Yield a local file to write. If the block succeeds, the file becomes ``path``. If not, it is removed.

    A remote file that is opened for writing is published incomplete if its block raises, so it is never opened.

    :param path: the target, local or in an object store. Its folder is created, its bucket is not.
    :raises CdrExportLandingError: the object store does not accept the file.
    """
    if is_local(path):
        target = Path(os.path.realpath(path.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A sibling, because a rename is atomic only within a file system. The file of mkstemp has no group permissions.
        staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            yield staged
            with staged.open("rb") as file:
                os.fsync(file.fileno())  # after a power failure the new name could belong to an empty file
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
        staged = Path(directory, path.name)
        yield staged
        _upload(staged, path)


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
