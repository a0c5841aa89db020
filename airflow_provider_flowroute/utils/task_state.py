"""Task state that survives retries: the export that an earlier try requested.

A *try cycle* is the tries of a task since its first one, or since it was last cleared. Everything that depends on
the version of Airflow is in this file. Airflow 3.3 and later store state for a task (``task_state_store``), which
survives both retries and clears. Earlier versions know at most when the try cycle started.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_flowroute.api.idempotency import RequestTime

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

log = logging.getLogger(__name__)

#: The key in the task's state store. Never rename it: a task may retry after an upgrade of this package.
KEY = "flowroute_cdr_export"


@dataclass(frozen=True)
class PriorRequest:
    """The request of an earlier try, which Flowroute may or may not have received.

    :param since: earliest time at which the request was sent.
    :param export_id: ID of the export, if the try received Flowroute's reply.
    """

    since: RequestTime
    export_id: str | None = None


class ExportTaskState:
    """Load and save what the next try of a task must know of its export.

    :param context: context of the task. Without a task instance, or with a mock of one, as in unit tests, there is no
        earlier try.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._ti = context.get("ti")
        self._store = context.get("task_state_store")
        self._dag_run = context.get("dag_run")

    def load(self, fingerprint: str) -> PriorRequest | None:
        """Return what an earlier try of this try cycle did, or None if it cannot have sent the request.

        :param fingerprint: fingerprint of the request. The state of another request is ignored.
        """
        if self._ti is None:
            return None
        if self._store is None:
            return self._infer_from_history()
        stored = self._store.get(KEY)
        return None if stored is None else _parse(stored, self._ti.max_tries, fingerprint)

    def save(self, fingerprint: str, requested_at: datetime, export_id: str | None = None) -> None:
        """Store what the next try must know.

        :param fingerprint: fingerprint of the request.
        :param requested_at: when this try cycle first sent the request, or is about to send it (aware).
        :param export_id: ID of the export, once it is known.
        """
        if self._store is not None and self._ti is not None:
            self._store.set(
                KEY,
                {
                    # A clear raises max_tries and a retry does not, so it identifies the try cycle.
                    "cycle": self._ti.max_tries,
                    "request": fingerprint,
                    "requested_at": requested_at.astimezone(UTC).isoformat(),
                    "export_id": export_id,
                },
            )

    def clear(self) -> None:
        """Delete the stored state."""
        if self._store is not None:
            self._store.delete(KEY)

    def clear_on_success(self, operator: BaseOperator) -> None:
        """Delete the stored state after Airflow has recorded the task's success.

        A task that is killed before that point is tried again and still needs the state.

        :param operator: the running operator, which gets another ``on_success_callback``.
        """
        if self._store is not None:
            given: Any = operator.on_success_callback or []
            callbacks = [given] if callable(given) else list(given)
            operator.on_success_callback = [*callbacks, lambda _context: self.clear()]

    def _infer_from_history(self) -> PriorRequest | None:
        """Return None on the first try of a try cycle, and the start of the try cycle on a later one."""
        ti = self._ti
        assert ti is not None
        try_number, max_tries, retries = ti.try_number, ti.max_tries, ti.task.retries
        if not all(isinstance(number, int) for number in (try_number, max_tries, retries)):
            return None  # a mock
        if try_number <= max_tries - retries + 1:
            return None
        first_try = _first_try_started_at(ti)
        if first_try is not None:
            return PriorRequest(RequestTime(first_try))
        if self._dag_run is None:
            return None
        # Inexact, because a clear changes the start date only if the run has ended: an export since then may belong
        # to the try cycle before.
        return PriorRequest(RequestTime(self._dag_run.start_date, exact=False))


def _parse(stored: Any, cycle: int, fingerprint: str) -> PriorRequest | None:
    """Parse stored state; return None if it belongs to another try cycle or request."""
    try:
        stored_for = stored["cycle"], stored["request"]
        requested_at, export_id = datetime.fromisoformat(stored["requested_at"]), stored["export_id"]
        is_valid = requested_at.tzinfo is not None and (
            export_id is None or (isinstance(export_id, str) and export_id != "")
        )
    except (KeyError, TypeError, ValueError):
        is_valid = False
    if not is_valid:
        log.warning("Ignoring invalid state under the key %r in the task's state store.", KEY)
        return None
    return PriorRequest(RequestTime(requested_at), export_id) if stored_for == (cycle, fingerprint) else None


def _first_try_started_at(ti: Any) -> datetime | None:
    """Return when the first try of the try cycle started. Only Airflow 2 tasks can read this from the database."""
    if AIRFLOW_V_3_0_PLUS:
        return None
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    keys = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index", "max_tries")}
    with create_session() as session:
        first_start = select(func.min(TaskInstanceHistory.start_date)).filter_by(**keys)
        started_at: datetime | None = session.scalar(first_start)
    return started_at
