"""What the tries of one task know of each other: of the export that an earlier one asked for.

A cycle is a task's tries from its first, or from its first after a clear, until it is cleared again. All that
depends on the version of Airflow is here: 3.3 and later keep a note for a task (``task_state_store``), which outlives
tries and clears alike; earlier ones know at most when the cycle began.
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

#: The note's name in the task's state store. An operator in the midst of its tries looks for it there: never rename it.
KEY = "flowroute_cdr_export"


@dataclass(frozen=True)
class PriorRequest:
    """What is known of an export that was, or may have been, asked for.

    :param since: from when on.
    :param export_id: its id, where the answer was seen.
    """

    since: RequestTime
    export_id: str | None = None


class ExportTaskState:
    """The cycle that a running task is in.

    :param context: the task's; without a task instance, as in a unit test, nothing is known and nothing kept.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._ti = context.get("ti")
        self._store = context.get("task_state_store")
        self._dag_run = context.get("dag_run")

    def load(self, fingerprint: str) -> PriorRequest | None:
        """What an earlier try of this cycle knew or may have done; None if no request can have been sent.

        :param fingerprint: the request's. What was noted of another request does not count.
        """
        if self._ti is None:
            return None
        if self._store is None:
            return self._infer_from_history()
        note = self._store.get(KEY)
        return None if note is None else _read(note, self._ti.max_tries, fingerprint)

    def save(self, fingerprint: str, asked_at: datetime, export_id: str | None = None) -> None:
        """Keep what the next try must know.

        :param fingerprint: the request's.
        :param asked_at: when it was first sent in this cycle, or is about to be.
        :param export_id: once it is known.
        """
        if self._store is not None and self._ti is not None:
            self._store.set(
                KEY,
                {
                    # A clear raises it, a retry does not: it tells one cycle's note from another's.
                    "cycle": self._ti.max_tries,
                    "request": fingerprint,
                    "asked_at": asked_at.astimezone(UTC).isoformat(),
                    "export_id": export_id,
                },
            )

    def clear(self) -> None:
        """Drop the note."""
        if self._store is not None:
            self._store.delete(KEY)

    def clear_on_success(self, operator: BaseOperator) -> None:
        """Drop the note when Airflow has recorded the task's success.

        Not before: a task killed between the two would be tried again, and know nothing of its export.
        """
        if self._store is not None:
            given: Any = operator.on_success_callback or []
            callbacks = [given] if callable(given) else list(given)
            operator.on_success_callback = [*callbacks, lambda _context: self.clear()]

    def _infer_from_history(self) -> PriorRequest | None:
        """Without a note: nothing on the first try, on a later one when the cycle began."""
        ti = self._ti
        assert ti is not None
        if ti.try_number <= ti.max_tries - ti.task.retries + 1:
            return None
        first_try = _first_try_started_at(ti)
        if first_try is not None:
            return PriorRequest(RequestTime(first_try))
        # A clear moves it only if the run was over: what is older may be from the cycle before.
        return (
            PriorRequest(RequestTime(self._dag_run.start_date, exact=False))
            if self._dag_run is not None
            else None
        )


def _read(note: Any, cycle: int, fingerprint: str) -> PriorRequest | None:
    """What a note says, if it is of this cycle and this request."""
    try:
        of, asked_at = (note["cycle"], note["request"]), datetime.fromisoformat(note["asked_at"])
        export_id = note["export_id"]
    except (KeyError, TypeError, ValueError):
        of, asked_at, export_id = None, None, None
    known = isinstance(export_id, str) and export_id != ""
    if asked_at is None or asked_at.tzinfo is None or not (known or export_id is None):
        log.warning("The task's state store has something else under %r: it is not used.", KEY)
        return None
    return PriorRequest(RequestTime(asked_at), export_id) if of == (cycle, fingerprint) else None


def _first_try_started_at(ti: Any) -> datetime | None:
    """When the cycle's first try started, from Airflow 2's own record: its tasks may read the database."""
    if AIRFLOW_V_3_0_PLUS:
        return None
    from airflow.models.taskinstancehistory import TaskInstanceHistory as Past
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    this = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index", "max_tries")}
    with create_session() as session:
        started_at: datetime | None = session.scalar(select(func.min(Past.start_date)).filter_by(**this))
    return started_at
