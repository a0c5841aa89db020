"""Run watchers as a triggerer does, with the state store of an asset."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import pytest

from airflow_provider_flowroute.triggers.events import CdrExportCompletedEventTrigger
from airflow_provider_flowroute.utils.watch_state import CALLBACK_KEY
from tests.triggers.account import Account, until

AIRFLOW_2 = version("apache-airflow").startswith("2.")
needs_watchers = pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 has no watchers.")


class AssetStateStore:
    """The store that Airflow 3.3 gives to a watcher: it keeps JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.fails = False

    def _check(self) -> None:
        if self.fails:
            from airflow.sdk.exceptions import AirflowRuntimeError
            from airflow.sdk.execution_time.comms import ErrorResponse

            raise AirflowRuntimeError(ErrorResponse())

    async def aget(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.values[key] = json.dumps(value)

    @property
    def state(self) -> dict[str, Any]:
        """What the only watcher of the asset has stored."""
        [value] = [value for key, value in self.values.items() if key != CALLBACK_KEY]
        return json.loads(value)


@asynccontextmanager
async def watching(store: Any = None, **arguments: Any):
    """Run a watcher as a triggerer does. Yields the list of its payloads."""
    payloads: list[dict[str, Any]] = []
    trigger = CdrExportCompletedEventTrigger(**{"poke_interval": 0.1, **arguments})
    trigger.asset_state_store = store

    async def run() -> None:
        async for event in trigger.run():
            payloads.append(event.payload)

    task = asyncio.create_task(run())
    try:
        yield payloads
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Log:
    """The log of the triggers, which Airflow 3 writes to stdout."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd, self._text = capfd, ""

    def __call__(self) -> str:
        self._text += self._capfd.readouterr().out
        return self._text

    def clear(self) -> None:
        self()
        self._text = ""


def reported(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["export_id"] for payload in payloads]


async def rounds(account: Account, number: int = 2) -> None:
    """Wait until as many rounds have begun and ended."""
    seen = len(account.lists)
    await until(lambda: len(account.lists) > seen + number)
