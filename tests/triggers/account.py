"""An account behind a real socket whose list can differ from the truth, and triggers that wait for its exports."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger
from tests.support import Answer, serving

EXPORTS = "/v2/cdrs/exports"
BUSY = {"errors": [{"detail": "Too busy."}]}


@dataclass
class Request:
    """A request that the account has received."""

    at: float
    export_id: str | None
    query: dict[str, str]
    client: tuple[str, int]

    @property
    def offset(self) -> int:
        return int(self.query.get("offset", 0))


@dataclass
class Account:
    """Exports and their statuses; change them at any time."""

    statuses: dict[str, str] = field(default_factory=dict)
    #: Changes the IDs that the list shows, newest first.
    listed: Callable[[list[str]], Iterable[str]] = list
    #: Answers a request in place of the account if it returns True.
    instead: Callable[[Answer, Request], bool] = lambda answer, request: False
    latency: float = 0.0
    requests: list[Request] = field(default_factory=list)
    answered: int = 0
    url: str = ""

    @property
    def lists(self) -> list[Request]:
        return [request for request in self.requests if request.export_id is None]

    def polls(self, export_id: str) -> list[Request]:
        return [request for request in self.requests if request.export_id == export_id]

    def complete(self, *export_ids: str) -> None:
        self.statuses |= dict.fromkeys(export_ids or self.statuses, "completed")

    def answer(self, answer: Answer) -> None:
        url = urlsplit(answer.path)
        export_id = url.path.removeprefix(EXPORTS).strip("/") or None
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        request = Request(time.time(), export_id, query, answer.client_address)
        self.requests.append(request)
        answer.connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # no 40 ms between headers and body
        time.sleep(self.latency)
        if not self.instead(answer, request):
            self._answer(answer, request)
        self.answered += 1

    def _answer(self, answer: Answer, request: Request) -> None:
        if request.export_id is None:
            wanted = request.query.get("status")
            ids = [name for name, status in self.statuses.items() if wanted in (None, status)]
            page = list(self.listed(ids[::-1]))[request.offset :][: int(request.query["limit"])]
            answer.send(200, {"data": [{"data": self._resource(name)} for name in page]})
        elif request.export_id in self.statuses:
            answer.send(200, {"data": self._resource(request.export_id)})
        else:
            answer.send(404, {"errors": [{"detail": "No such export."}]})

    def _resource(self, export_id: str) -> dict[str, Any]:
        return {"id": export_id, "attributes": {"status": self.statuses[export_id]}}


@contextmanager
def serving_account(*export_ids: str, **options: Any) -> Iterator[Account]:
    """Serve an account whose exports are in process."""
    account = Account(dict.fromkeys(export_ids, "processing"), **options)
    with serving(account.answer) as server:
        account.url = server.url
        yield account


def ids(number: int) -> list[str]:
    return [str(index) for index in range(1, number + 1)]


def a_trigger(
    export_id: str, conn_id: str = "flowroute_default", *, wait: float = 0.0, timeout: float = 10.0,
    poke_interval: float = 0.05,
) -> CdrExportTrigger:  # fmt: skip
    """A trigger whose first poll is after ``wait`` seconds, and its deadline after ``timeout`` seconds."""
    now = time.time()
    return CdrExportTrigger(export_id, conn_id, poke_interval, now + timeout, now + wait)


async def event_of(trigger: CdrExportTrigger) -> dict[str, Any]:
    """The only event of a trigger, and when it came."""
    [event] = [{**event.payload, "at": time.time()} async for event in trigger.run()]
    return event


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(
    account: Account,
    *triggers: CdrExportTrigger,
    after: Callable[[Account], object] = lambda account: True,
    then: Callable[[Account], object] = Account.complete,
) -> list[dict[str, Any]]:
    """Run triggers. Once a condition is true, change the account. Return the events."""

    async def change() -> None:
        await until(lambda: after(account))
        then(account)

    async def all_events() -> list[Any]:
        async with asyncio.timeout(60):
            return (await asyncio.gather(change(), *map(event_of, triggers)))[1:]

    return asyncio.run(all_events())


def statuses(events: list[dict[str, Any]]) -> list[str]:
    return [event["status"] for event in events]


def failing(
    status: int, *, times: int = 10**6, on: Callable[[Request], bool] = lambda request: True,
    body: Any = BUSY, **headers: str,
) -> Callable[[Answer, Request], bool]:  # fmt: skip
    """Answer some requests with an error."""
    left = [times]

    def instead(answer: Answer, request: Request) -> bool:
        if not on(request) or not left[0]:
            return False
        left[0] -= 1
        answer.send(status, body, **headers)
        return True

    return instead


def hanging(seconds: float) -> Callable[[Answer, Request], bool]:
    """Answer all requests too late."""

    def instead(answer: Answer, request: Request) -> bool:
        time.sleep(seconds)
        return False

    return instead


def threads() -> list[threading.Thread]:
    """The threads of all pollers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("flowroute-poller")]
