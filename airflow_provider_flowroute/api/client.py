"""The HTTP client for Flowroute's CDR exports. The only file that imports requests; it does not use Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.api.download import ResumableDownload
from airflow_provider_flowroute.api.errors import error_from_exception, error_from_response, parse_http_date
from airflow_provider_flowroute.api.presigned_urls import redact_presigned_urls_in_logs, validate_download_url
from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus
from airflow_provider_flowroute.exceptions import (
    CdrExportDownloadError,
    FlowrouteError,
    FlowrouteUnexpectedResponseError,
)

log = logging.getLogger(__name__)

DEFAULT_BASE_URL = "https://api.flowroute.com"
#: Largest page of a list request (Flowroute's "List CDRs" page).
PAGE_SIZE = 200
#: Seconds. If Flowroute asks for a longer pause, the client raises the 429 error instead of blocking a worker.
MAX_RETRY_AFTER = 60
MEDIA_TYPE = "application/vnd.api+json"
_EXPORTS = "/v2/cdrs/exports"
#: Statuses below 500 that a new download may not get: timeout, a file that has changed, too many requests.
_TRANSIENT_STORAGE_STATUSES = {
    requests.codes.request_timeout,
    requests.codes.requested_range_not_satisfiable,
    requests.codes.too_many_requests,
}


class Clock(Protocol):
    """What the client needs of the module :mod:`time`."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class _Retry(Retry):
    """Retry a GET after a broken connection, 429 and 5xx; retry a POST only if it cannot have taken effect.

    urllib3 itself retries every method if no connection was established.
    """

    def __init__(self, *args: Any, clock: Clock, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock = clock

    def new(self, **options: Any) -> Self:
        return super().new(clock=self._clock, **options)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        retry_after = self.get_retry_after(response) if response is not None else None
        if seconds := retry_after or self.get_backoff_time():
            self._clock.sleep(seconds)

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if method == "POST":
            return status_code == 429
        return super().is_retry(method, status_code, has_retry_after)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            return super().get_retry_after(response)
        except InvalidHeader:  # as if there were no header
            return None

    def increment(self, *args: Any, **options: Any) -> Self:
        response = options.get("response")
        if response is not None and (self.get_retry_after(response) or 0) > MAX_RETRY_AFTER:
            # urllib3 then returns the response, because raise_on_status is False.
            raise MaxRetryError(options["_pool"], "")
        return super().increment(*args, **options)


class _Adapter(HTTPAdapter):
    """Close the connections when the session is closed.

    urllib3 closes them when their pool is garbage-collected. That can be late, because the traceback of an error
    refers to the pool.
    """

    def close(self) -> None:
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            manager.pools.dispose_func = HTTPConnectionPool.close
        super().close()


class FlowrouteClient:
    """Access the CDR exports of one Flowroute account.

    Close the client after use, or use it as a context manager.

    :param access_key: access key of the API key.
    :param secret_key: secret key of the API key.
    :param base_url: scheme and host of the API. The caller makes sure that plain http is used for loopback only.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds to wait for the next bytes of an answer.
    :param retries: how often to retry a request. The exponential delays with jitter are at most 60 seconds long.
    :param proxies: as requests expects them, for example ``{"https": "http://proxy:3128"}``.
    :param verify: True to check TLS certificates, or the path of a CA bundle to check them with.
    :param download_hosts: hosts from which files may be downloaded, in addition to Amazon S3.
    :param name: name of the credentials in errors: the ID of the Airflow connection.
    :param clock: waits between retries, and measures time. Tests inject their own.
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
        clock: Clock = time,
    ) -> None:
        redact_presigned_urls_in_logs()
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.download_hosts = tuple(download_hosts)
        self.clock = clock
        #: How far Flowroute's clock is ahead of ours, by the last answer with a date. Accurate to about a second.
        self.clock_ahead: timedelta | None = None
        self._timeout = (connect_timeout, read_timeout)
        self._retries = retries
        self._proxies = dict(proxies or {})
        self._verify = verify
        # Encoded here, because requests would encode the keys as Latin-1.
        self._api = self._session(requests.auth.HTTPBasicAuth(access_key.encode(), secret_key.encode()))
        # No credentials, not even those of a .netrc: S3 rejects a presigned link with credentials.
        self._files = self._session(lambda request: request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the API and to the storage."""
        self._api.close()
        self._files.close()

    def _session(
        self, auth: Callable[[requests.PreparedRequest], requests.PreparedRequest]
    ) -> requests.Session:
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
            clock=self.clock,
        )
        session.mount("https://", _Adapter(max_retries=retry))
        session.mount("http://", _Adapter(max_retries=retry))
        return session

    def _send(
        self, session: requests.Session, method: str, url: str, what: str, **options: Any
    ) -> requests.Response:
        """Send one request.

        An exception of requests contains the complete URL, and a file's URL is secret. So our error is raised
        outside the ``except`` block: it does not chain to the original.
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
        """Send one request to the API and return the decoded JSON of a 2xx answer."""
        headers = {"Accept": MEDIA_TYPE}
        if "json" in options:
            headers["Content-Type"] = MEDIA_TYPE
        response = self._send(self._api, method, self.base_url + path, what, headers=headers, **options)
        self._read_clock(response)
        status = response.status_code
        if status >= requests.codes.bad_request:
            raise error_from_response(response, what, self.name)
        if status >= requests.codes.multiple_choices:
            raise FlowrouteUnexpectedResponseError(
                f"{what}: the API answered with a redirect ({status}).\n"
                f"{self.base_url} redirects to another address. The redirect is not followed, because the keys are "
                f"sent only to the connection's own host.\n"
                f"Set the connection's host to the address of the API.",
                request_may_have_arrived=False,
            )
        try:
            return response.json()
        except requests.JSONDecodeError:
            content_type = response.headers.get("Content-Type", "no content type")
        raise FlowrouteUnexpectedResponseError(
            f"{what}: the answer is not JSON.\n"
            f"{self.base_url} answered {status} with {content_type}, perhaps from a proxy or a maintenance page.\n"
            f"If this continues, check that the connection's host is Flowroute's API.",
            transient=True,
        )

    def _read_clock(self, response: requests.Response) -> None:
        if theirs := parse_http_date(response.headers.get("Date")):
            self.clock_ahead = theirs - datetime.now(UTC)

    def create_cdr_export(
        self, filter_parameters: Mapping[str, Any], callback_url: str | None = None
    ) -> CdrExport:
        """Create a CDR export.

        :param filter_parameters: window and filters, from :func:`.cdr.filters.build_filter_parameters`.
        :param callback_url: URL to which Flowroute POSTs a callback when the export changes.
        :return: the new export, usually with the status ``processing``.
        :raises FlowrouteUnreachableError: no answer. A request that may have arrived is not sent again.
        :raises FlowrouteError: any other error; ``request_may_have_arrived`` is True if the export may exist.
        """
        attributes: dict[str, Any] = {"filter_parameters": dict(filter_parameters)}
        if callback_url:
            attributes["callback_url"] = callback_url
        body = {"data": {"type": "cdrexport", "attributes": attributes}}
        return CdrExport.from_resource(self._call("POST", _EXPORTS, "Creating a CDR export", json=body))

    def get_cdr_export(self, export_id: str) -> CdrExport:
        """Return an export in its current state.

        :param export_id: ID of the export.
        :raises FlowrouteNotFoundError: the account has no export with this ID.
        :raises FlowrouteError: the request failed after ``retries``.
        """
        path = f"{_EXPORTS}/{quote(str(export_id), safe='')}"
        return CdrExport.from_resource(self._call("GET", path, f"Reading CDR export {export_id}"))

    def list_cdr_exports(
        self, status: ExportStatus | str | None = None, page_size: int = PAGE_SIZE
    ) -> Iterator[CdrExport]:
        """Iterate over the exports of the account, newest first. Request a page only when it is needed.

        :param status: return only exports with this status.
        :param page_size: exports in one request, at most 200.
        :raises FlowrouteError: a request failed after ``retries``.
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
                    "Listing CDR exports: the answer has no list of data.\n"
                    "Check that the connection's host is Flowroute's API, and upgrade the provider."
                )
            # An export that is created between two requests shifts the following ones to the next page.
            exports = {export.id: export for export in map(CdrExport.from_resource, items)}
            unseen = [export for export in exports.values() if export.id not in seen]
            seen.update(exports)
            yield from unseen
            if len(items) < page_size or not unseen:
                return
            # links.next names an internal http host: following it would send the keys there unencrypted.
            params["offset"] += page_size

    def poll_cdr_export(self, export_id: str) -> CdrExport | None:
        """Poll an export once: return it if it is completed, else None.

        A transient error (no connection, 429, 5xx) and the status of an export that is not completed are logged, and
        None is returned.

        :param export_id: ID of the export.
        :raises FlowrouteError: a permanent error: failed, unknown status, 401, 403, 404.
        """
        try:
            export = self.get_cdr_export(export_id)
        except FlowrouteError as e:
            if not e.transient:
                raise
            log.warning("%s\nPolling again later.", e)
            return None
        export.raise_if_failed()
        if export.is_completed:
            return export
        log.info("Export %s is %s.", export.id, export.status_text)
        return None

    def open_cdr_export(self, export: CdrExport) -> ResumableDownload:
        """Open an export's file as a stream of gzip bytes that resumes after a broken connection.

        Write the stream to a file with :meth:`.ResumableDownload.copy_to`.

        :param export: a completed export.
        :raises CdrExportNotCompletedError: the export has no file yet.
        :raises CdrExportDownloadError: the link is rejected, expired, or leads to a host that is not allowed.
        """
        export.check_completed()
        return ResumableDownload(
            export,
            open_at=self._open_file,
            refresh=lambda: self.get_cdr_export(export.id),
            retries=self._retries,
            sleep=self.clock.sleep,
        )

    def _open_file(self, export: CdrExport, headers: Mapping[str, str]) -> requests.Response:
        url = validate_download_url(export, self.base_url, self.download_hosts)
        what = f"Downloading CDR export {export.id}"
        # identity: the stored file is already gzip, and is read exactly as it is stored.
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
            f"{what}: the storage answered {response.status_code} {response.reason}.\n"
            f"If this continues, create a new export: clear the task that created this one.",
            transient=response.status_code >= requests.codes.internal_server_error
            or response.status_code in _TRANSIENT_STORAGE_STATUSES,
        )
