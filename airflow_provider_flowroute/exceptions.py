"""Every error of this package, in one hierarchy.

    FlowrouteError
    ├── FlowrouteValueError                 (also a ValueError)
    ├── FlowrouteConnectionConfigError      (also a ValueError)
    ├── FlowrouteUnreachableError           transient
    ├── FlowrouteAPIError
    │   ├── FlowrouteAuthenticationError    401
    │   ├── FlowroutePermissionError        403
    │   ├── FlowrouteNotFoundError          404
    │   ├── FlowrouteRequestError           other 4xx
    │   ├── FlowrouteRateLimitError         429, transient
    │   └── FlowrouteServerError            5xx, transient
    ├── FlowrouteUnexpectedResponseError    transient or permanent
    ├── CdrExportUncertainError             transient
    ├── CdrExportFailedError
    ├── CdrExportUnknownStatusError
    ├── CdrExportNotCompletedError          transient
    ├── CdrExportTimeoutError               transient
    ├── CdrExportDownloadError              transient or permanent
    ├── CdrExportIntegrityError             transient
    │   └── CdrExportMismatchError          transient
    ├── CdrExportFormatError
    ├── CdrExportLandingError               transient
    └── CdrCompletenessError

The first line of a message says what happened and where. The next lines give the cause and the fix. No message
contains a download link or a key, because messages reach task logs, the triggerer's log and alert emails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class FlowrouteError(Exception):
    """Base class of all errors of this package."""

    #: Whether the same call can succeed later. A sensor keeps waiting after a transient error. A permanent error
    #: fails the task without a retry.
    transient: bool = False

    #: Whether Flowroute may have received the request, so that an export may exist whose ID is not known.
    request_may_have_arrived: bool = False


class FlowrouteValueError(FlowrouteError, ValueError):
    """A window, a filter, a path or an option is invalid. Nothing was sent."""


class FlowrouteConnectionConfigError(FlowrouteError, ValueError):
    """The Airflow connection is incomplete, invalid or unsafe."""


class FlowrouteUnreachableError(FlowrouteError):
    """Flowroute did not answer: the connection was refused, was dropped or timed out.

    :param request_may_have_arrived: False only if the request cannot have reached Flowroute.
    """

    transient = True

    def __init__(self, message: str, *, request_may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.request_may_have_arrived = request_may_have_arrived


class FlowrouteAPIError(FlowrouteError):
    """Flowroute answered with an HTTP error.

    :param message: the complete message for the user.
    :param status_code: the HTTP status.
    :param errors: Flowroute's error objects, as JSON.
    :param detail: Flowroute's description of the first error, if there is one.
    :param error_id: ID of the first error, to quote to Flowroute support, if there is one.
    :param retry_after: seconds that Flowroute asks to wait, from the ``Retry-After`` header.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        errors: Sequence[Mapping[str, Any]] = (),
        detail: str | None = None,
        error_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.errors = errors
        self.detail = detail
        self.error_id = error_id
        self.retry_after = retry_after


class FlowrouteAuthenticationError(FlowrouteAPIError):
    """401: the keys are unknown, wrong or expired."""


class FlowroutePermissionError(FlowrouteAPIError):
    """403: the keys are valid, but do not permit this request."""


class FlowrouteNotFoundError(FlowrouteAPIError):
    """404: the account has no export with this ID."""


class FlowrouteRequestError(FlowrouteAPIError):
    """400, 405, 415, 422 and other 4xx: Flowroute rejects the request."""


class FlowrouteRateLimitError(FlowrouteAPIError):
    """429: too many requests (Flowroute's rate limit), after the client's retries."""

    transient = True


class FlowrouteServerError(FlowrouteAPIError):
    """5xx: an error inside Flowroute, after the client's retries."""

    transient = True
    request_may_have_arrived = True


class FlowrouteUnexpectedResponseError(FlowrouteError):
    """The answer is not one of Flowroute's API: a web page, a redirect, or JSON with another structure.

    :param transient: True for an answer of a proxy or a maintenance page.
    :param request_may_have_arrived: False only if the answer shows that Flowroute did not process the request.
    """

    def __init__(
        self, message: str, *, transient: bool = False, request_may_have_arrived: bool = True
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.request_may_have_arrived = request_may_have_arrived


class CdrExportUncertainError(FlowrouteError):
    """The response to a create was lost, and the account's list does not contain the export.

    The request was not repeated. The next try of the task searches for the export first.
    """

    transient = True
    request_may_have_arrived = True


class CdrExportFailedError(FlowrouteError):
    """The export has the status ``failed``. Only a new export can succeed."""


class CdrExportUnknownStatusError(FlowrouteError):
    """The export has a status that this package does not know. It neither waits for it nor uses its file."""


class CdrExportNotCompletedError(FlowrouteError):
    """The export is not completed, so it has no file."""

    transient = True


class CdrExportTimeoutError(FlowrouteError):
    """The export was not completed within the timeout."""

    transient = True


class CdrExportDownloadError(FlowrouteError):
    """The export's file cannot be downloaded.

    :param transient: False if the storage or this package rejects the link.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class CdrExportIntegrityError(FlowrouteError):
    """The downloaded file is incomplete or damaged. Nothing was published. Another download may succeed."""

    transient = True


class CdrExportMismatchError(CdrExportIntegrityError):
    """The file is complete, but differs from Flowroute's totals. Nothing was published."""


class CdrExportFormatError(FlowrouteError):
    """The file's header, a row or a value has an invalid format. Nothing was published.

    Permanent, because another download returns the same file.
    """


class CdrExportLandingError(FlowrouteError):
    """The file cannot be written to its target, for example because of space, permissions or a missing bucket.

    :param transient: False if the target rejects the file: there is no permission, or no such bucket.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class CdrCompletenessError(FlowrouteError):
    """The landed files do not hold every call of a period exactly once, or differ from Flowroute's totals.

    Permanent, because only another landing changes the files.
    """
