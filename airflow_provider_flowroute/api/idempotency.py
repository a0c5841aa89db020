"""Create an export once: if the response is lost, find the export instead of repeating the request.

Flowroute's API has no idempotency key, and an export cannot be cancelled or deleted. But the account's list of
exports shows for each export what was requested, and when.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from airflow_provider_flowroute.api.client import PAGE_SIZE, FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.request import CdrExportRequest
from airflow_provider_flowroute.exceptions import (
    CdrExportUncertainError,
    FlowrouteError,
    FlowrouteUnexpectedResponseError,
)

log = logging.getLogger(__name__)

#: Seconds before each lookup of an export whose response was lost. The list may not show it immediately.
LOOKUP_DELAYS = (0, 2, 4, 8, 16)
#: How long before the request time an export may have been requested, because the clocks of workers differ.
TOLERANCE = timedelta(minutes=1)
#: The same, if Flowroute's answers have no date.
TOLERANCE_WITHOUT_DATE = timedelta(minutes=5)


@dataclass(frozen=True)
class RequestTime:
    """The time from which an export may belong to a request.

    :param instant: by our clock.
    :param exact: whether the request was sent at this time; False if the time is only a lower bound.
    """

    instant: datetime
    exact: bool = True


def create_once(client: FlowrouteClient, request: CdrExportRequest) -> CdrExport:
    """Create an export. If the response is lost, search for the export for 30 seconds.

    :param client: the client of the account.
    :param request: the export to create.
    :raises CdrExportUncertainError: the response was lost, and the export was not found.
    :raises FlowrouteError: any other error means that no export was created.
    """
    since = RequestTime(datetime.now(UTC))
    try:
        export = client.create_cdr_export(request.filter_parameters, request.callback_url)
    except FlowrouteError as e:
        if not e.request_may_have_arrived:
            raise
        lost = e
    else:
        log.info("Created export %s.", export.id)
        return export
    log.warning("%s\nThe request may have arrived. Searching for its export.", lost)
    found = _find_with_retries(client, request, since)
    if found is None:
        raise CdrExportUncertainError(
            f"{lost}\n"
            f"The request may have arrived, but the account's list does not contain its export.\n"
            f"Retry the task: the request was not repeated, and the next try searches for the export first."
        ) from lost
    log.info("Created export %s: the request had arrived.", found.id)
    return found


def _find_with_retries(
    client: FlowrouteClient, request: CdrExportRequest, since: RequestTime
) -> CdrExport | None:
    deadline = client.clock.monotonic() + sum(LOOKUP_DELAYS)
    for delay in LOOKUP_DELAYS:
        client.clock.sleep(delay)
        try:
            found = find_export(client, request, since)
        except FlowrouteError as e:
            if not (e.transient or isinstance(e, FlowrouteUnexpectedResponseError)):
                raise
            log.warning("%s", e)
        else:
            if found is not None:
                return found
        if client.clock.monotonic() > deadline:  # the lookups themselves took long
            break
    return None


def find_export(client: FlowrouteClient, request: CdrExportRequest, since: RequestTime) -> CdrExport | None:
    """Find the export of a request in the account's list.

    Only an export that can still have a file is found, and only if it was requested since then, by the clock of
    Flowroute's answers. If several match, return the nearest to an exact time, else the newest.

    :param client: the client of the account.
    :param request: the request.
    :param since: the earliest time at which the request may have been sent.
    """
    found: list[tuple[datetime, CdrExport]] = []
    exports = client.list_cdr_exports()
    while page := list(islice(exports, PAGE_SIZE)):
        ahead = client.clock_ahead
        sent_at = since.instant + (ahead or timedelta())
        earliest = sent_at - (TOLERANCE_WITHOUT_DATE if ahead is None else TOLERANCE)
        dated = [(export.requested_at, export) for export in page if export.requested_at]
        found += [
            (requested_at, export)
            for requested_at, export in dated
            if requested_at >= earliest and export.is_usable(datetime.now(UTC)) and request.matches(export)
        ]
        # Flowroute's documents promise no order.
        if dated and dated[-1][0] < earliest and _newest_first(requested_at for requested_at, _ in dated):
            break
    if not found:
        return None
    if since.exact:
        return min(found, key=lambda match: abs(match[0] - sent_at))[1]
    return max(found, key=lambda match: match[0])[1]


def _newest_first(instants: Iterable[datetime]) -> bool:
    return all(later >= earlier for later, earlier in pairwise(instants))
