"""Presigned download links: decide which to follow, and keep them out of logs and errors.

A presigned link is a secret, because anyone who has it can read the calls.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Sequence

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import CdrExportDownloadError

# s3.amazonaws.com, s3.us-west-2.…, s3-us-west-2.…, bucket.s3.dualstack.us-west-2.…, and China's .cn
_S3_HOST = re.compile(r"(?:[a-z0-9.-]+\.)?s3(?:[.-][a-z0-9-]+){0,2}\.amazonaws\.com(?:\.cn)?")
# Signatures of S3, and of the storages that download_hosts may name: CloudFront, Google, Azure.
_SIGNED_QUERY = re.compile(r"\?[^\s\"'>]*(?:X-Amz-|Signature=|\bsig=|upload_?id=)[^\s\"'>]*", re.IGNORECASE)
# Anyone who has the ID of a resumable upload to Google Cloud Storage can write the file. Its query is not signed.
_UPLOAD_ID = re.compile(r"(\bupload_?id\b['\"]?\s*[=:>]\s*['\"]?)[^\s'\"<>&,)]+", re.IGNORECASE)


def redact_presigned_urls(text: str) -> str:
    """Replace the queries of presigned URLs and the IDs of upload sessions in a text.

    :param text: a log message, or the message of a storage's error.
    """
    return _UPLOAD_ID.sub(r"\1<redacted>", _SIGNED_QUERY.sub("?<redacted>", text))


class _PresignedUrlFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        redacted = redact_presigned_urls(message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        return True


def redact_presigned_urls_in_logs() -> None:
    """Remove presigned queries from urllib3's log records.

    urllib3 logs complete URLs: at DEBUG for each request, and at WARNING for a retry.
    """
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if not any(isinstance(present, _PresignedUrlFilter) for present in logger.filters):
            logger.addFilter(_PresignedUrlFilter())


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or an address is this machine."""
    host = (host or "").strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def validate_download_url(export: CdrExport, base_url: str, download_hosts: Sequence[str]) -> str:
    """Return the export's download link if its host is allowed.

    :param export: a completed export.
    :param base_url: URL of the API. A link to loopback is allowed only if the API is on loopback too.
    :param download_hosts: hosts that are allowed in addition to Amazon S3, over https.
    :raises CdrExportDownloadError: there is no link, or it is not allowed. The message shows only the host.
    """
    if not export.download_url:
        raise CdrExportDownloadError(
            f"Export {export.id} is completed, but Flowroute gives no link to its file.\n"
            f"The file may have expired (expiry: {export.expires_at or 'unknown'}).\n"
            f"Create a new export: clear the task that created this one.",
            transient=False,
        )
    # Versions of urllib3 differ: some keep a newline in the host, others reject it.
    if not export.download_url.isprintable():
        raise CdrExportDownloadError(
            f"The download link of export {export.id} has a control character.\n"
            f"Its host is ambiguous, so the link is not followed.\n"
            f"Contact Flowroute support with the export's ID.",
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
        f"The download link of export {export.id} leads to a host that is not allowed.\n"
        f"{link.scheme or 'no scheme'}://{host or 'no host'} is neither Amazon S3 over https nor one of the "
        f"connection's download_hosts, so the link is not followed.\n"
        f"If you trust that host, add it to 'download_hosts' in the connection's extra.",
        transient=False,
    )
