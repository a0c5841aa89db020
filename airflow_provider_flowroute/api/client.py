"""The HTTP client for Flowroute's CDR exports. The only file that imports requests; it knows no Airflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.api.download import (
    ResumableDownload,
    redact_presigned_urls_in_logs,
    validate_download_url,
)
from airflow_provider_flowroute.api.errors import error_from_exception, error_from_response
from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    FlowrouteError,
    FlowrouteUnexpectedResponseError,
)

log = logging.getLogger(__name__)
redact_presigned_urls_in_logs()

DEFAULT_BASE_URL = "https://api.flowroute.com"
#: The most a list request may ask for (Flowroute's "List CDRs" page).
PAGE_SIZE = 200
#: Seconds; a service that asks for a longer pause gets its 429 handed on instead of a blocked worker.
MAX_RETRY_AFTER = 60
MEDIA_TYPE = "application/vnd.api+json"
_EXPORTS = "/v2/cdrs/exports"
#: Below 500, what another try from the start may not meet again: too slow, another file by now, too many.
_TRANSIENT_STORAGE_STATUSES = {
    requests.codes.request_timeout,
    requests.codes.requested_range_not_satisfiable,
    requests.codes.too_many_requests,
}


class _Retry(Retry):
    """GETs are repeated after a lost connection, 429 and 5xx; a POST only where it cannot have taken effect.

    A connection that was never made is repeated for every method by urllib3 itself.
    """

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if method == "POST":
            return status_code == 429
        return super().is_retry(method, status_code, has_retry_after)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            return super().get_retry_after(response)
        except InvalidHeader:  # as if there were none
            return None

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if response is not None and (self.get_retry_after(response) or 0) > MAX_RETRY_AFTER:
            raise MaxRetryError(_pool, url or "")  # which, as raise_on_status is False, gives the response
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _NoAuth(AuthBase):
    """Sends no credentials, not even those a ``.netrc`` has for the host: S3 refuses a link that bears any."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class FlowrouteClient:
    """Talks to one Flowroute account.

    :param access_key: the API key's access key.
    :param secret_key: its secret key.
    :param base_url: scheme and host of the API; only loopback hosts may be plain http, which the caller checks.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds to wait for the next bytes of an answer.
    :param retries: how often a request is repeated, with exponential, jittered pauses of at most a minute.
    :param proxies: as requests takes them, e.g. ``{"https": "http://proxy:3128"}``.
    :param verify: check TLS certificates (True), or the path of a CA bundle to check them with.
    :param download_hosts: hosts besides Amazon S3 from which an export's file may be fetched.
    :param name: what the credentials are called in errors: the Airflow connection's id.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        base_url: str = DEFAULT_BASE_URL,
        *,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        retries: int = 5,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
        download_hosts: Sequence[str] = (),
        name: str = "(none)",
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.download_hosts = tuple(download_hosts)
        #: How far Flowroute's clock is ahead of ours, by its last answer that told the time, to about a second.
        self.clock_ahead: timedelta | None = None
        self._timeout = (connect_timeout, read_timeout)
        self._retries = retries
        self._proxies = dict(proxies or {})
        self._verify = verify
        # Encoded here, for requests knows Latin-1 alone.
        self._api = self._session(requests.auth.HTTPBasicAuth(access_key.encode(), secret_key.encode()))
        self._files = self._session(_NoAuth())

    def _session(self, auth: AuthBase) -> requests.Session:
        session = requests.Session()
        session.auth = auth
        session.headers["User-Agent"] = f"airflow-provider-flowroute/{__version__}"
        retry = _Retry(
            total=self._retries,
            other=0,
            allowed_methods={"GET"},
            status_forcelist={429, 500, 502, 503, 504},
            backoff_factor=0.5,
            backoff_max=MAX_RETRY_AFTER,
            backoff_jitter=0.5,
            raise_on_status=False,
        )
        session.mount("https://", HTTPAdapter(max_retries=retry))
        session.mount("http://", HTTPAdapter(max_retries=retry))
        return session

    def _send(
        self, session: requests.Session, method: str, url: str, what: str, **options: Any
    ) -> requests.Response:
        """Send one request.

        requests' exceptions hold the whole URL, which for a file is its secret link, so ours is raised outside
        the ``except`` block: nothing chains back to the original.
        """
        try:
            return session.request(
                method,
                url,
                timeout=self._timeout,
                proxies=self._proxies,
                verify=self._verify,
                allow_redirects=False,
                **options,
            )
        except requests.RequestException as e:
            error = error_from_exception(e, what)
        raise error

    def _call(self, method: str, path: str, what: str, **options: Any) -> Any:
        """One exchange with the API.

        :return: the decoded JSON of a 2xx answer.
        """
        headers = (
            {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
            if "json" in options
            else {"Accept": MEDIA_TYPE}
        )
        response = self._send(self._api, method, self.base_url + path, what, headers=headers, **options)
        self._read_clock(response)
        if response.status_code >= requests.codes.bad_request:
            raise error_from_response(response, what, self.name)
        if response.status_code >= requests.codes.multiple_choices:
            raise FlowrouteUnexpectedResponseError(
                f"{what}: {self.base_url} answered with a redirect ({response.status_code}), which is not followed: "
                f"the keys go only to the connection's own host. Set the connection's host to the API's address.",
                request_may_have_arrived=False,
            )
        try:
            return response.json()
        except requests.JSONDecodeError:
            kind = response.headers.get("Content-Type", "no content type")
        raise FlowrouteUnexpectedResponseError(
            f"{what}: {self.base_url} answered {response.status_code} with {kind} instead of JSON. A proxy or a "
            f"maintenance page may stand in the way; check also that the connection's host is Flowroute's API.",
            transient=True,
        )

    def _read_clock(self, response: requests.Response) -> None:
        try:
            theirs = parsedate_to_datetime(response.headers["Date"])
            self.clock_ahead = theirs - datetime.now(UTC)
        except (KeyError, ValueError, TypeError, OverflowError):  # none, or not one that can be read
            return

    def create_cdr_export(
        self, filter_parameters: Mapping[str, Any], callback_url: str | None = None
    ) -> CdrExport:
        """Ask Flowroute to build an export.

        :param filter_parameters: window and filters, from :func:`.cdr.filters.build_filter_parameters`.
        :param callback_url: where Flowroute POSTs a note when the export changes.
        :raises FlowrouteUnreachableError: with ``request_may_have_arrived``; never sent again if it may have.
        """
        attributes: dict[str, Any] = {"filter_parameters": dict(filter_parameters)}
        if callback_url:
            attributes["callback_url"] = callback_url
        body = {"data": {"type": "cdrexport", "attributes": attributes}}
        return CdrExport.from_resource(self._call("POST", _EXPORTS, "Creating a CDR export", json=body))

    def get_cdr_export(self, export_id: str) -> CdrExport:
        """Read one export.

        :raises FlowrouteNotFoundError: the account has none of this id.
        """
        path = f"{_EXPORTS}/{quote(str(export_id), safe='')}"
        return CdrExport.from_resource(self._call("GET", path, f"Reading CDR export {export_id}"))

    def list_cdr_exports(
        self, status: ExportStatus | str | None = None, page_size: int = PAGE_SIZE
    ) -> Iterator[CdrExport]:
        """All exports of the account, page by page as they are asked for, newest first.

        :param status: only those of this status.
        :param page_size: how many a request brings, at most 200.
        """
        params: dict[str, Any] = {"limit": page_size, "offset": 0}
        if status is not None:
            params["status"] = status.value if isinstance(status, ExportStatus) else status
        seen: set[str] = set()
        while True:
            answer = self._call("GET", _EXPORTS, "Listing CDR exports", params=params)
            items = answer.get("data") if isinstance(answer, dict) else None
            if not isinstance(items, list):
                raise FlowrouteUnexpectedResponseError(
                    "Listing CDR exports: Flowroute's answer has no list of data."
                )
            # An export made between two pages moves the rest along.
            exports = {export.id: export for export in map(CdrExport.from_resource, items)}
            fresh = [export for export in exports.values() if export.id not in seen]
            seen.update(exports)
            yield from fresh
            if len(items) < page_size or not fresh:
                return
            # links.next names an internal plain-http host: following it would send the keys there in clear.
            params["offset"] += page_size

    def poll_cdr_export(self, export_id: str) -> CdrExport | None:
        """One look of a wait: the export once it is completed, None while it is not.

        A passing error (no connection, 429, 5xx) is logged and counts as "not yet".

        :raises FlowrouteError: what no waiting can mend: failed, unknown status, 401, 403, 404.
        """
        try:
            export = self.get_cdr_export(export_id)
        except FlowrouteError as e:
            if not e.transient:
                raise
            log.warning("%s Looking again later.", e)
            return None
        export.raise_if_failed()
        return export if export.is_completed else None

    def open_cdr_export(self, export: CdrExport) -> ResumableDownload:
        """Open an export's file: a stream of its gzip bytes that survives a cut connection.

        :param export: a completed export.
        :raises CdrExportNotCompletedError: it has no file yet.
        :raises CdrExportDownloadError: the link is refused, expired, or leads to a host not allowed.
        """
        export.check_completed()
        return ResumableDownload(
            export,
            open_at=self._open_file,
            refresh=lambda: self.get_cdr_export(export.id),
            retries=self._retries,
        )

    def _open_file(self, export: CdrExport, headers: Mapping[str, str]) -> requests.Response:
        url = validate_download_url(export, self.base_url, self.download_hosts)
        what = f"Downloading CDR export {export.id}"
        # identity: what is stored is gzip already, and the bytes are wanted as they are stored.
        headers = {"Accept-Encoding": "identity", **headers}
        response = self._send(self._files, "GET", url, what, headers=headers, stream=True)
        if response.status_code in (
            requests.codes.ok,
            requests.codes.partial_content,
            requests.codes.forbidden,
        ):
            return response
        response.close()
        raise CdrExportDownloadError(
            f"{what}: the storage answered {response.status_code} {response.reason}.",
            transient=response.status_code >= requests.codes.internal_server_error
            or response.status_code in _TRANSIENT_STORAGE_STATUSES,
        )

    def download_cdr_export(self, export: CdrExport, target: str | os.PathLike[str] | BinaryIO) -> int:
        """Fetch an export's gzip file, in constant memory.

        :param export: a completed export.
        :param target: a local path, which is replaced only once all bytes are there, or an open binary file.
        :return: bytes written.
        :raises FlowrouteError: see :meth:`open_cdr_export`; the old file at ``target`` is then left as it was.
        """
        with self.open_cdr_export(export) as download:
            if not isinstance(target, str | os.PathLike):
                return download.copy_to(target)
            part = Path(f"{os.fspath(target)}.{os.getpid()}.part")
            try:
                with part.open("wb") as file:
                    written = download.copy_to(file)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
            return written
