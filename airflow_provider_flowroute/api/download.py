"""The file of an export, as a stream that survives cuts, and the care its secret link needs."""

from __future__ import annotations

import io
import ipaddress
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

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

# s3.amazonaws.com, s3.us-west-2.…, s3-us-west-2.…, bucket.s3.dualstack.us-west-2.…, and China's .cn
_S3_HOST = re.compile(r"(?:[a-z0-9.-]+\.)?s3(?:[.-][a-z0-9-]+){0,2}\.amazonaws\.com(?:\.cn)?")
# Of S3, old and new, and of the storages that download_hosts may name: CloudFront, Google, Azure.
_SIGNED_QUERY = re.compile(r"\?[^\s\"'>]*(?:X-Amz-|Signature=|\bsig=)[^\s\"'>]*", re.IGNORECASE)
COPY_BYTES = 1 << 20


class _PresignedUrlFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        shown = _SIGNED_QUERY.sub("?<signed>", message)
        if shown != message:
            record.msg, record.args = shown, ()
        return True


def redact_presigned_urls_in_logs() -> None:
    """Cut presigned queries from what urllib3 logs: whole URLs, at DEBUG for each request, at WARNING for a retry."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if not any(isinstance(present, _PresignedUrlFilter) for present in logger.filters):
            logger.addFilter(_PresignedUrlFilter())


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine itself."""
    host = (host or "").strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def validate_download_url(export: CdrExport, base_url: str, download_hosts: Sequence[str]) -> str:
    """The export's link, if it leads where a file of Flowroute's may lie.

    :param base_url: the API's; a loopback link is fine only where the API is on loopback too.
    :param download_hosts: hosts allowed besides Amazon S3, over https.
    :raises CdrExportDownloadError: naming the host, never the link.
    """
    if not export.download_url:
        raise CdrExportDownloadError(
            f"Export {export.id} is completed, but Flowroute gives no link to its file. It may have expired "
            f"({export.expires_at or 'no expiry known'}): make a new export by clearing the task that created it.",
            transient=False,
        )
    try:
        link: Url = parse_url(export.download_url)
    except LocationParseError:
        link = Url()
    host = (link.host or "").lower()
    if link.auth is None and (
        (
            link.scheme == "https"
            and (_S3_HOST.fullmatch(host) or host in {allowed.lower() for allowed in download_hosts})
        )
        or (link.scheme in ("http", "https") and is_loopback(host) and is_loopback(parse_url(base_url).host))
    ):
        return export.download_url
    raise CdrExportDownloadError(
        f"Export {export.id}: its link leads to {link.scheme or 'no scheme'}://{host or 'no host'}, which is neither "
        f"Amazon S3 over https nor one of the connection's download_hosts; it is not followed. If you trust that "
        f"host, add it to 'download_hosts' in the connection's extra.",
        transient=False,
    )


class ResumableDownload(io.RawIOBase):
    """The gzip bytes of an export's file, in order and once each, over as many connections as that takes.

    After a cut it goes on where it was, with ``Range``; a 403 is answered with one fresh link. Whether the
    bytes are whole only gzip's own trailer can tell: where a server announces no length, a cut looks like an end.

    :param export: a completed export.
    :param open_at: makes the request, given the export and headers.
    :param refresh: reads the export anew, for a fresh link.
    :param retries: how often in a row it may be cut without a byte having come.
    """

    def __init__(
        self,
        export: CdrExport,
        *,
        open_at: Callable[[CdrExport, Mapping[str, str]], Response],
        refresh: Callable[[], CdrExport],
        retries: int,
    ) -> None:
        self._export = export
        self._open_at = open_at
        self._refresh: Callable[[], CdrExport] | None = refresh
        self._retries = retries
        self._failures = 0
        self._response: Response | None = None
        self._etag: str | None = None
        #: Bytes handed out so far.
        self.position = 0
        #: Bytes in the file, where the server told it.
        self.total: int | None = None
        self._connect()

    def readable(self) -> bool:
        """True: reading is all this stream is for."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read up to the buffer's length; 0 only at the end of the file."""
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
            # r.raw, not iter_content: the stored bytes, also where the object bears Content-Encoding: gzip.
            data: bytes = self._response.raw.read(size, decode_content=False)
        except (HTTPError, OSError) as e:
            reason = type(e).__name__
        else:
            if data or self.total is None or self.position >= self.total:
                return data
            reason = "the body ended early"
        self._disconnect()
        raise FlowrouteUnreachableError(
            f"Downloading CDR export {self._export.id}: cut at byte {self.position} of {self.total or '?'} ({reason})."
        )

    def _pause(self, error: FlowrouteError) -> None:
        self._failures += 1
        if self._failures > self._retries:
            raise error
        log.warning("%s Going on from there.", error)
        time.sleep(min(0.5 * 2 ** (self._failures - 1), 30) if self._failures > 1 else 0)

    def _connect(self) -> None:
        response = self._request()
        if response.status_code == 403 and self._refresh is not None:
            response.close()
            log.info(
                "The storage refused the link of export %s (403); asking Flowroute for a fresh one.",
                self._export.id,
            )
            self._export, self._refresh = self._refresh(), None
            response = self._request()
        if response.status_code == 403:
            response.close()
            raise CdrExportDownloadError(
                f"Downloading CDR export {self._export.id}: the storage refuses its link (403), also a fresh one. "
                f"Files can be fetched until {self._export.expires_at or 'three days after they were made'}: if that "
                f"is over, make a new export by clearing the task that created it.",
                transient=False,
            )
        self._accept(response)

    def _request(self) -> Response:
        headers = {"Range": f"bytes={self.position}-"} if self.position else {}
        if self.position and self._etag:
            headers["If-Range"] = self._etag
        return self._open_at(self._export, headers)

    def _accept(self, response: Response) -> None:
        """Take a response on, once it is sure to go on with the same file at the right byte."""
        etag = response.headers.get("ETag")
        if self.position == 0:
            length = response.headers.get("Content-Length")
            self.total = int(length) if length else None
            self._etag = etag
        else:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code != 206 or not content_range.startswith(f"bytes {self.position}-"):
                response.close()
                raise CdrExportDownloadError(
                    f"Downloading CDR export {self._export.id}: after a cut at byte {self.position} the storage does "
                    f"not go on with the same file (it answered {response.status_code}). Try again from the start."
                )
        self._response = response

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        """Let go of the connection."""
        self._disconnect()
        super().close()

    def copy_to(self, target: BinaryIO) -> int:
        """Write the rest of the file to ``target``.

        :return: bytes written.
        """
        before = self.position
        shutil.copyfileobj(self, target, COPY_BYTES)
        return self.position - before
