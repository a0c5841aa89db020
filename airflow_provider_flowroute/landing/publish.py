"""A file is made in a temporary place, and takes its target's in one step: the last, and only if all went well."""

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

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

#: Seconds between two lines of the log about long work.
PROGRESS_INTERVAL = 10.0
#: Bytes that s3fs sends at a time. Its own 50 MiB, ten at once, would take up half a gigabyte of memory.
_S3_PART = 8 << 20


def is_local(path: ObjectStoragePath) -> bool:
    """Whether a path is on this machine's own disk."""
    return path.protocol in ("", "file", "local")


def bucket_of(path: ObjectStoragePath) -> str:
    """The bucket or container of a path, without the id of its connection, which Airflow 2 and 3.1 leave there."""
    return str(path.bucket.rpartition("@")[2])


@contextmanager
def publish_atomically(path: ObjectStoragePath) -> Iterator[Path]:
    """A local file to fill, which becomes ``path`` if the block ends well and is gone if it does not.

    Never the target itself: a remote file opened for writing is published, half as it is, when its block raises.

    :param path: the target, local or in any object storage. Its directory is made, a bucket is not.
    """
    if is_local(path):
        target = Path(os.path.realpath(path.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A sibling, for a rename is one step only within a file system; not mkstemp, whose file only its owner reads.
        staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            yield staged
            with staged.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave the new name with nothing in it
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

    told = time.monotonic()

    def tell(size: int | None, done: int, **_: Any) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_INTERVAL:
            told = time.monotonic()
            log.info("Uploading to %s: %.1f of %.1f MB.", path, done / 1e6, (size or 0) / 1e6)

    options = {"chunksize": _S3_PART} if path.protocol in ("s3", "s3a") else {}
    path.fs.put_file(os.fspath(staged), path.path, callback=Callback(hooks={"progress": tell}), **options)
