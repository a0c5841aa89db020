"""Download an export's file, and resume after a broken connection."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO

from urllib3.exceptions import HTTPError

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    FlowrouteError,
    FlowrouteUnreachableError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import Response

log = logging.getLogger(__name__)

COPY_BYTES = 1 << 20


class ResumableDownload(io.RawIOBase):
    """Read the gzip bytes of an export's file as one stream, over as many connections as needed.

    After a broken connection, the download resumes at the same byte with a ``Range`` request. After the first 403,
    it requests a new link. Only the gzip trailer proves that the file is complete: if the server sends no length,
    a broken connection looks like the end of the file.

    :param export: a completed export.
    :param open_at: sends the request, given the export and the headers.
    :param refresh: reads the export again, for a new link.
    :param retries: how many connections in a row may break without a new byte.
    :param sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        export: CdrExport,
        *,
        open_at: Callable[[CdrExport, Mapping[str, str]], Response],
        refresh: Callable[[], CdrExport],
        retries: int,
        sleep: Callable[[float], None],
    ) -> None:
        self._export = export
        self._open_at = open_at
        self._refresh: Callable[[], CdrExport] | None = refresh
        self._retries = retries
        self._sleep = sleep
        self._failures = 0
        self._response: Response | None = None
        self._etag: str | None = None
        #: Bytes read so far.
        self.position = 0
        #: Bytes in the file, if the server sends its length.
        self.total: int | None = None
        self._connect()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read up to the buffer's length; return 0 only at the end of the file."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        while True:
            try:
                data = self._raw_read(len(view))
            except FlowrouteUnreachableError as e:
                self._pause(e)
                continue
            view[: len(data)] = data
            self.position += len(data)
            if data:
                self._failures = 0
            return len(data)

    def _raw_read(self, size: int) -> bytes:
        if self._response is None:
            self._connect()
        assert self._response is not None
        try:
            # raw, not iter_content: the stored bytes, even if the object has Content-Encoding: gzip.
            data: bytes = self._response.raw.read(size, decode_content=False)
        except (HTTPError, OSError) as e:
            reason = type(e).__name__
        else:
            if data or self.total is None or self.position >= self.total:
                return data
            reason = "the body ended early"
        self._disconnect()
        raise FlowrouteUnreachableError(
            f"Downloading CDR export {self._export.id}: the connection broke.\n"
            f"Received {self.position} of {self.total or '?'} bytes ({reason}).\n"
            f"If this continues, increase 'retries' in the connection's extra."
        )

    def _pause(self, error: FlowrouteError) -> None:
        self._failures += 1
        if self._failures > self._retries:
            raise error
        log.warning("%s\nResuming the download at that byte.", error)
        self._sleep(min(0.5 * 2 ** (self._failures - 1), 30) if self._failures > 1 else 0)

    def _connect(self) -> None:
        response = self._request()
        if response.status_code == 403 and self._refresh is not None:
            response.close()
            log.info(
                "The storage rejected the download link of export %s (403). Requesting a new link.",
                self._export.id,
            )
            self._export, self._refresh = self._refresh(), None
            response = self._request()
        if response.status_code == 403:
            response.close()
            raise CdrExportDownloadError(
                f"Downloading CDR export {self._export.id}: the storage rejects its link (403).\n"
                f"It rejects a new link too. The file is available until "
                f"{self._export.expires_at or 'three days after its creation'}.\n"
                f"If the file has expired, create a new export: clear the task that created this one.",
                transient=False,
            )
        self._accept(response)

    def _request(self) -> Response:
        headers = {"Range": f"bytes={self.position}-"} if self.position else {}
        if self.position and self._etag:
            headers["If-Range"] = self._etag
        return self._open_at(self._export, headers)

    def _accept(self, response: Response) -> None:
        """Use a response only if it continues the same file at the right byte."""
        if self.position == 0:
            length = response.headers.get("Content-Length")
            self.total = int(length) if length else None
            self._etag = response.headers.get("ETag")
        else:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code != 206 or not content_range.startswith(f"bytes {self.position}-"):
                response.close()
                raise CdrExportDownloadError(
                    f"Downloading CDR export {self._export.id}: cannot resume at byte {self.position}.\n"
                    f"The storage does not continue the same file (it answered {response.status_code}).\n"
                    f"Download the file again from the start: retry the task."
                )
        self._response = response

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        super().close()

    def copy_to(self, target: BinaryIO) -> int:
        """Write the rest of the file to ``target``.

        :return: number of bytes written.
        """
        before = self.position
        shutil.copyfileobj(self, target, COPY_BYTES)
        return self.position - before
