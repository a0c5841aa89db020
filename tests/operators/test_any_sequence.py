"""A try cycle never has two live exports and never succeeds without one, whatever happens in whatever order.

Hypothesis generates sequences of Flowroute's faults, kills at any step, failed exports, deferrals and clears. The
operator runs through them against the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.operators.tries import KilledError, Task
from tests.support import client_of

FOREVER = float("inf")
URL = "http://127.0.0.1:9/ours"
WINDOW = {"start_call_start_time": "2026-03-02", "start_call_end_time": "2026-03-03"}

FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lost reply": ("lost_reply", {}),
    "dropped": ("dropped_connection", {}),
    "read time-out": ("held_request", {"after": True}),
    "5xx": ("server_error", {"status": 503}),
    "5xx after": ("server_error", {"status": 502, "after": True}),
    "429": ("rate_limit", {}),
    "web page": ("html_reply", {}),
    "wrong shape": ("wrong_shape", {}),
    "401": ("unauthorized", {}),
    "failed export": ("failed_export", {}),
}


class OneExport(RuleBasedStateMachine):
    """A task and its account."""

    has_store: bool

    @initialize(mode=st.sampled_from(["plain", "waiting", "deferrable"]))
    def start(self, mode: str) -> None:
        self.monkeypatch = pytest.MonkeyPatch()
        self.account = FlowrouteSimulator(calls_per_day=1, processing_seconds=FOREVER)
        self.account.start()
        self.task = Task(
            self.account,
            self.monkeypatch,
            self.has_store,
            **WINDOW,
            callback_url=URL,
            wait_for_completion=mode != "plain",
            deferrable=mode == "deferrable",
            timeout=10,
            poke_interval=6,
        )
        self.waits = mode != "plain"
        self.over = False
        self.earlier: set[str] = set()  # exports of earlier try cycles

    def teardown(self) -> None:
        if hasattr(self, "account"):
            self.account.stop()
            self.monkeypatch.undo()

    @rule(status=st.sampled_from(["completed", "failed"]))
    def an_export_ends(self, status: str) -> None:
        self._end_all(status)

    @rule()
    def another_task_requests_the_same_calls(self) -> None:
        self.account.clear_faults()
        parameters = {name: f"{day} 00:00:00" for name, day in WINDOW.items()}
        client_of(self.account).create_cdr_export(parameters, "http://127.0.0.1:9/another")

    @precondition(lambda self: not self.over and self.task.trigger is None)
    @rule(
        at_create=st.sampled_from([None, *FAULTS]),
        at_polls=st.sampled_from([None, None, "lost reply", "5xx", "web page", "wrong shape"]),
        kill_at=st.sampled_from([*[None] * 8, *range(10)]),
        meanwhile=st.sampled_from(["completed", "failed", "nothing"]),
    )
    def the_task_is_tried(
        self, at_create: str | None, at_polls: str | None, kill_at: int | None, meanwhile: str
    ) -> None:
        self.account.clear_faults()
        for name, kinds in ((at_create, ["create"]), (at_polls, ["status", "list"])):
            if name is not None:
                fault, options = FAULTS[name]
                for on in kinds:
                    self.account.add_fault(fault, on=on, **options)
        self.task.meanwhile = lambda: None if meanwhile == "nothing" else self._end_all(meanwhile)
        self._run(lambda: self.task.attempt(kill_at))

    @precondition(lambda self: not self.over and self.task.trigger is not None)
    @rule(kill_at=st.none() | st.integers(0, 3))
    def the_task_is_resumed(self, kill_at: int | None) -> None:
        self._run(lambda: self.task.resume(kill_at))

    @precondition(lambda self: self.over or (self.task.trigger is None and self.task.try_number > 1))
    @rule()
    def the_task_is_cleared(self) -> None:
        self.task.clear()
        self.over = False
        self.account.clock_ahead += 120
        self.earlier = {export.id for export in self.account.exports}

    @invariant()
    def there_is_at_most_one_live_export(self) -> None:
        assert len(self._live()) <= 1, self._live()

    def _run(self, step: Callable[[], str | None]) -> None:
        try:
            export_id = step()
        except AirflowFailException:
            self.over = True
            return
        except (FlowrouteError, KilledError):
            return
        if export_id is None:
            return
        self.over = True
        [(live_id, status)] = self._live()
        assert live_id == export_id
        assert status == "completed" or not self.waits

    def _live(self) -> list[tuple[str, str]]:
        return [
            (export.id, export.status)
            for export in self.account.exports
            if export.callback_url == URL and export.id not in self.earlier and export.status != "failed"
        ]

    def _end_all(self, status: str) -> None:
        end = {"completed": self.account.complete, "failed": self.account.fail}[status]
        for export in self.account.exports:
            if export.status == "processing":
                end(export.id)


class WithStore(OneExport):
    has_store = True


class WithoutStore(OneExport):
    has_store = False


for machine in (WithStore, WithoutStore):
    machine.TestCase.settings = settings(
        max_examples=150,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )

TestOnAirflowWithTaskState = WithStore.TestCase
TestOnAirflowWithout = WithoutStore.TestCase
