"""Every error of this package.

Each message says what happened, where, and what to do. None ever holds a download link or a key: they end
up in task logs, in the triggerer's log and in alert mails. Nothing here knows Airflow, so that the client
stays usable, and testable, without one.
"""

from __future__ import annotations


class FlowrouteError(Exception):
    """What all errors of this package have in common."""

    #: Whether the same call may well succeed a little later: a sensor waits such an error out, any other
    #: ends the task without wasting its retries.
    transient: bool = False

    #: Whether the request may have taken effect all the same: an export may have been made that nobody was told of.
    request_may_have_arrived: bool = False


class FlowrouteValueError(FlowrouteError, ValueError):
    """A window, a filter, a path or an option that cannot be right, found before anything was sent."""


class FlowrouteConnectionConfigError(FlowrouteError, ValueError):
    """The Airflow connection is incomplete, or asks for something unsafe."""


class FlowrouteUnreachableError(FlowrouteError):
    """No answer: refused, dropped or timed out.

    :param request_may_have_arrived: False only where the request provably never reached Flowroute.
    """

    transient = True

    def __init__(self, message: str, *, request_may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.request_may_have_arrived = request_may_have_arrived


class FlowrouteAPIError(FlowrouteError):
    """Flowroute answered with an error.

    :param message: the whole sentence for the user.
    :param status_code: the HTTP status.
    :param detail: Flowroute's own words, where it gave any.
    :param error_id: the id Flowroute's support asks for, where it gave one.
    :param retry_after: seconds, from a ``Retry-After`` header.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        detail: str | None = None,
        error_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.detail = detail
        self.error_id = error_id
        self.retry_after = retry_after


class FlowrouteAuthenticationError(FlowrouteAPIError):
    """401: the keys are unknown, wrong or expired."""


class FlowroutePermissionError(FlowrouteAPIError):
    """403: the keys are good, but not for this."""


class FlowrouteNotFoundError(FlowrouteAPIError):
    """404: the account of these keys has no such export."""


class FlowrouteRequestError(FlowrouteAPIError):
    """400, 405, 415, 422 and the like: Flowroute understood the request and refuses it as it stands."""


class FlowrouteRateLimitError(FlowrouteAPIError):
    """429: too many requests, also after the client's own retries."""

    transient = True


class FlowrouteServerError(FlowrouteAPIError):
    """5xx: Flowroute's side, also after the client's own retries."""

    transient = True
    request_may_have_arrived = True


class FlowrouteUnexpectedResponseError(FlowrouteError):
    """An answer that is not Flowroute's API speaking: a web page, a redirect, JSON of another shape.

    :param transient: True for what a proxy or a maintenance page puts in the way for a while.
    :param request_may_have_arrived: False only where the answer shows that nothing was done.
    """

    def __init__(
        self, message: str, *, transient: bool = False, request_may_have_arrived: bool = True
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.request_may_have_arrived = request_may_have_arrived


class CdrExportUncertainError(FlowrouteError):
    """Nobody knows whether Flowroute made the export: the answer was lost, and it is not in the account's list.

    The request was not sent again. Another try of the task looks for the export first.
    """

    transient = True
    request_may_have_arrived = True


class CdrExportFailedError(FlowrouteError):
    """Flowroute ended the export as ``failed``. Only a new export can help."""


class CdrExportUnknownStatusError(FlowrouteError):
    """The export has a status this package does not know: neither taken for done nor waited on for ever."""


class CdrExportNotCompletedError(FlowrouteError):
    """The export's file was asked for before the export was completed."""

    transient = True


class CdrExportTimeoutError(FlowrouteError):
    """The export was still being built when the time given to it was over."""

    transient = True


class CdrExportDownloadError(FlowrouteError):
    """The export's file could not be fetched.

    :param transient: False where the link itself is refused: another try would meet the same.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class CdrExportIntegrityError(FlowrouteError):
    """The file came, but is not whole or not what the export says. Nothing was published.

    Another download may well be whole, hence transient.
    """

    transient = True


class CdrExportMismatchError(CdrExportIntegrityError):
    """The file is whole, but not what Flowroute says the export holds. Nothing was published."""


class CdrExportFormatError(FlowrouteError):
    """The file is whole, but its header, a row or a value is not of the form it should have. Nothing was published.

    Another download would be the same.
    """


class CdrExportLandingError(FlowrouteError):
    """The file could not be written where it should go: no space, no permission, no such bucket."""

    transient = True
