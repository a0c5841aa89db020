from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_flowroute.triggers import events
from tests.support import connection_json
from tests.triggers.account import Account, serving_account, threads, until


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Account]]:
    """Serve an account, and make the connection to it."""
    with ExitStack() as stack:

        def start(*export_ids: str, conn_id: str = "flowroute_default", **options: Any) -> Account:
            account = stack.enter_context(serving_account(*export_ids, **options))
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection_json(account.url))
            return account

        yield start


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    asyncio.run(until(lambda: not threads()))


@pytest.fixture(autouse=True)
def short_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last event of a burst come soon after the others."""
    monkeypatch.setattr(events, "GAP", 0.3)
