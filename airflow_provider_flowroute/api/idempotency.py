"""An export is asked for once: if the answer is lost, the export is looked for, not asked for again.

Flowroute's API has no key by which a repeated request is known as such, and can neither cancel nor delete an
export. What it has is the list of the account's exports, each with what it was asked for with, and when.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from airflow_provider_flowroute.api.client import PAGE_SIZE, FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.request import CdrExportRequest
from airflow_provider_flowroute.exceptions import (
    CdrExportUncertainError,
    FlowrouteError,
    FlowrouteUnexpectedResponseError,
)

log = logging.getLogger(__name__)

#: Seconds before each look for an export whose answer was lost: it may still be on its way into the list.
LOOKUP_DELAYS = (0, 2, 4, 8, 16)
#: How much earlier than we think we asked an export may have been requested: workers' clocks differ. The wider,
#: where Flowroute's answers do not tell its time.
TOLERANCE = timedelta(minutes=1)
TOLERANCE_WITHOUT_DATE = timedelta(minutes=5)


@dataclass(frozen=True)
class RequestTime:
    """From when on an export may be ours.

    :param instant: by our clock.
    :param exact: whether the request was sent right then; False where that is only known to be a lower bound.
    """

    instant: datetime
    exact: bool = True


def create_once(client: FlowrouteClient, request: CdrExportRequest) -> CdrExport:
    """Ask for an export; if the answer is lost, look for it for half a minute.

    :raises CdrExportUncertainError: the answer was lost, and the export was not found.
    :raises FlowrouteError: any other error means that no export was made.
    """
    since = RequestTime(datetime.now(UTC))
    try:
        export = client.create_cdr_export(request.filter_parameters, request.callback_url)
    except FlowrouteError as e:
        if not e.request_may_have_arrived:
            raise
        lost = e
    else:
        log.info("Flowroute is building export %s.", export.id)
        return export
    log.warning("%s The request may have arrived all the same: looking for its export.", lost)
    found = _find_with_retries(client, request, since)
    if found is None:
        raise CdrExportUncertainError(
            f"{lost} The request may have arrived all the same, but no export of its own is in the account's list. "
            f"It was not sent again: the task's next try looks for the export before it asks anew."
        ) from lost
    log.info("Flowroute is building export %s: the request had arrived.", found.id)
    return found


def _find_with_retries(
    client: FlowrouteClient, request: CdrExportRequest, since: RequestTime
) -> CdrExport | None:
    deadline = time.monotonic() + sum(LOOKUP_DELAYS)
    for pause in LOOKUP_DELAYS:
        time.sleep(pause)
        try:
            found = find_export(client, request, since)
        except FlowrouteError as e:
            if not (e.transient or isinstance(e, FlowrouteUnexpectedResponseError)):
                raise
            log.warning("%s", e)
        else:
            if found is not None:
                return found
        if time.monotonic() > deadline:  # the looks themselves took long
            break
    return None


def find_export(client: FlowrouteClient, request: CdrExportRequest, since: RequestTime) -> CdrExport | None:
    """The export that a request made, from the account's list.

    Only what can still give a file is found, and only what was requested since then, by Flowroute's own clock as
    its answers tell it. Of several the one nearest to an exact instant is taken, else the newest.

    :param since: when it may have been asked for at the earliest.
    """
    found: list[tuple[datetime, CdrExport]] = []
    exports = client.list_cdr_exports()
    while page := list(islice(exports, PAGE_SIZE)):
        ahead = client.clock_ahead
        asked_at = since.instant + (ahead or timedelta())
        earliest = asked_at - (TOLERANCE_WITHOUT_DATE if ahead is None else TOLERANCE)
        dated = [(export.requested_at, export) for export in page if export.requested_at]
        found += [
            (at, export)
            for at, export in dated
            if at >= earliest and export.is_usable(datetime.now(UTC)) and request.matches(export)
        ]
        if dated and dated[-1][0] < earliest and _newest_first(at for at, _ in dated):
            break
    if not found:
        return None
    if since.exact:
        return min(found, key=lambda each: abs(each[0] - asked_at))[1]
    return max(found, key=lambda each: each[0])[1]


def _newest_first(instants: Iterable[datetime]) -> bool:
    """Whether older exports alone can follow. Flowroute's documents do not promise it."""
    rest: Iterator[datetime] = iter(instants)
    later = next(rest)
    for instant in rest:
        if instant > later:
            return False
        later = instant
    return True
