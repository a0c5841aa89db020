"""The tries of a task, one by one, as Airflow runs them. A test can kill a try at any step."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.operators import cdr_export
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.utils import task_state
from tests.support import TaskStateStore, wait_until

CONNECTION = "flowroute_tries"
RETRIES = 2


class KilledError(BaseException):
    """A kill -9, simulated within the process: nothing catches it."""


class Steps:
    """Count the requests and the state writes of a try, and kill it at one of them.

    :param kill_at: kill before (even) or after (odd) step number ``kill_at // 2``; None never kills.
    """

    def __init__(self, kill_at: int | None) -> None:
        self._kill_at = kill_at
        self._taken = 0

    def take(self, step: Callable[[], Any]) -> Any:
        self._kill_if_due()
        result = step()
        self._kill_if_due()
        return result

    def survive(self) -> None:
        """Never kill the try from now on."""
        self._kill_at = None

    def _kill_if_due(self) -> None:
        if self._taken == self._kill_at:
            raise KilledError
        self._taken += 1


class Task:
    """A task that creates an export.

    :param account: simulated account that the task uses.
    :param monkeypatch: sets the connection, the Airflow version and the clocks.
    :param has_store: whether this Airflow stores task state, as 3.3 does.
    :param options: arguments of the operator.
    """

    def __init__(
        self, account: FlowrouteSimulator, monkeypatch: pytest.MonkeyPatch, has_store: bool, **options: Any
    ) -> None:
        # Long enough for a slow machine, so that its speed does not change the result.
        extra = {"read_timeout": 60, "retries": 1}
        connection = json.dumps({**account.connection, "extra": extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", connection)
        monkeypatch.setattr(task_state, "AIRFLOW_V_3_0_PLUS", True)
        self.now = time.monotonic()
        #: Called in every pause of a wait.
        self.meanwhile: Callable[[], object] = lambda: None
        clock = SimpleNamespace(sleep=self._sleep, monotonic=lambda: self.now, time=time.time)
        monkeypatch.setattr(cdr_export, "time", clock)
        monkeypatch.setitem(FlowrouteClient.__init__.__kwdefaults__, "clock", clock)
        self.account = account
        self.store = TaskStateStore() if has_store else None
        self.options = {"flowroute_conn_id": CONNECTION, "retries": RETRIES, **options}
        self.try_number, self.max_tries = 1, RETRIES
        self.run_started_at = datetime.now(UTC)
        #: The trigger of the deferred task.
        self.trigger: Any = None

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def attempt(self, kill_at: int | None = None) -> str | None:
        """Run the next try.

        :return: ID of the export, or None if the task is deferred; see :attr:`trigger`.
        """
        operator, steps = self._operator(kill_at)
        try:
            export_id = str(operator.execute(self._context(operator, steps)))
        except TaskDeferred as deferral:
            self.trigger = deferral.trigger
            return None
        except (FlowrouteError, KilledError):
            self.try_number += 1
            raise
        self._succeed(operator, steps)
        return export_id

    def resume(self, kill_at: int | None = None) -> str:
        """Resume after the deferral. The trigger polls now, for the last time."""
        trigger, self.trigger = self.trigger, None
        trigger.first_poll_at = trigger.deadline = 0.0
        event = asyncio.run(_first_event(trigger))
        operator, steps = self._operator(kill_at)
        try:
            export_id = steps.take(lambda: operator.execute_complete(self._context(operator, steps), event))
        except (FlowrouteError, KilledError):
            self.try_number += 1
            raise
        self._succeed(operator, steps)
        return str(export_id)

    def clear(self) -> None:
        """Clear the task after its DAG run has ended. The next try starts a new try cycle."""
        self.try_number += 1
        self.max_tries = self.try_number - 1 + RETRIES
        self.run_started_at = datetime.now(UTC)
        self.trigger = None

    def _operator(self, kill_at: int | None) -> tuple[CreateCdrExportOperator, Steps]:
        operator = CreateCdrExportOperator(task_id="create", **self.options)
        steps = Steps(kill_at)
        session = operator.client._api
        send = session.request
        session.request = lambda *a, **o: steps.take(lambda: self._send(send, *a, **o))  # type: ignore[method-assign]
        return operator, steps

    def _send(self, send: Callable[..., Any], method: str, url: str, **options: Any) -> Any:
        """Send a request, with a short time-out if the account holds the reply."""
        account = self.account
        if method != "POST" or not any(fault["fault"] == "held_request" for fault in account.faults):
            return send(method, url, **options)
        count = len(account.exports)
        try:
            return send(method, url, **{**options, "timeout": (5, 0.1)})
        finally:
            wait_until(lambda: len(account.exports) > count)

    def _context(self, operator: CreateCdrExportOperator, steps: Steps) -> Any:
        ti = SimpleNamespace(try_number=self.try_number, max_tries=self.max_tries, task=operator)
        context: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(start_date=self.run_started_at)}
        if self.store is not None:
            store = self.store
            context["task_state_store"] = SimpleNamespace(
                get=store.get,
                set=lambda key, value: steps.take(lambda: store.set(key, value)),
                delete=lambda key: steps.take(lambda: store.delete(key)),
            )
        return context

    def _succeed(self, operator: Any, steps: Steps) -> None:
        # Airflow calls these after it has recorded the success; a task killed then is not tried again.
        steps.survive()
        for callback in operator.on_success_callback or ():
            callback({})


async def _first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    return None
