"""The simulator as a whole: two ports, one event loop, one thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from airflow_provider_flowroute.simulator.account import Account
from airflow_provider_flowroute.simulator.api import Api
from airflow_provider_flowroute.simulator.callbacks import Callbacks, SentCallback
from airflow_provider_flowroute.simulator.control import add_control
from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.faults import FaultQueue
from airflow_provider_flowroute.simulator.held_requests import HeldRequests
from airflow_provider_flowroute.simulator.presigning import LinkSigner
from airflow_provider_flowroute.simulator.request_log import RecordedRequest, RequestLog
from airflow_provider_flowroute.simulator.storage import Storage

_HOST = "127.0.0.1"


class FlowrouteSimulator:
    """A Flowroute account on localhost, for as long as the ``with`` block lasts.

    Every attribute and method is safe to use from any thread.

    :param seed: which call history the account has; the same seed gives the same files.
    :param calls_per_day: the mean number of calls in a UTC day.
    :param processing_seconds: how long an export is ``processing``; ``float("inf")`` for until
        :meth:`complete` or :meth:`fail`.
    :param port: the API's port; 0 for any that is free.
    :param download_port: the storage's port; 0 for any that is free.
    :param access_key: the access key that is let in.
    :param secret_key: its secret key.
    :param link_seconds: how long the links of a completed export work, in seconds.
    :param state: a file that keeps the exports between runs; None to forget them.
    :param on_request: called with each request once it is answered, in the simulator's thread.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        calls_per_day: float = 200,
        processing_seconds: float = 0.0,
        port: int = 0,
        download_port: int = 0,
        access_key: str = "demo-access-key",
        secret_key: str = "demo-secret-key",  # noqa: S107 - opens nothing but this
        link_seconds: float = 259200,
        state: str | Path | None = None,
        on_request: Callable[[RecordedRequest], None] | None = None,
    ) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self._ports = (port, download_port)
        self._account = Account(
            seed=seed,
            calls_per_day=calls_per_day,
            processing_seconds=processing_seconds,
            link_seconds=link_seconds,
            state=state,
        )
        self._account.on_created = lambda _: self._in_loop(self._wake)
        self._account.on_ended = lambda export: self._in_loop(self._call_back, export)
        self._faults = FaultQueue()
        self._held = HeldRequests()
        self._log = RequestLog(on_request)
        self._callbacks = Callbacks()
        signer = LinkSigner(seed, self._account.now)
        self._api = Api(self._account, self._faults, self._held, signer, access_key, secret_key)
        self._storage = Storage(self._account, self._faults, self._held, signer)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._created = asyncio.Event()
        self._stopping = asyncio.Event()
        self._calling_back: set[asyncio.Task[None]] = set()

    def __enter__(self) -> FlowrouteSimulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open both ports and answer requests, until :meth:`stop`."""
        if self._thread:
            raise RuntimeError("This simulator runs already: stop it first, or make another one.")
        sockets = [_listen(self._ports[0], "port")]
        try:
            sockets.append(_listen(self._ports[1], "download_port"))
        except OSError:
            sockets[0].close()
            raise
        self._api.base, self._api.download_origin = (
            f"http://{_HOST}:{each.getsockname()[1]}" for each in sockets
        )
        self._loop = loop = asyncio.new_event_loop()
        self._created, self._stopping = asyncio.Event(), asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(loop, sockets, ready), name="flowroute-simulator", daemon=True
        )
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Close both ports and the thread. Stopping what does not run does nothing."""
        thread, self._thread = self._thread, None
        if thread:
            self._in_loop(self._stopping.set)
            thread.join()
            self._account.save()

    @property
    def url(self) -> str:
        """The API's address: what goes into the connection's host."""
        return self._running(self._api.base)

    @property
    def download_origin(self) -> str:
        """The storage's address, where the links lead."""
        return self._running(self._api.download_origin)

    @property
    def connection(self) -> dict[str, str]:
        """The Airflow connection to this account."""
        keys = {"login": self.access_key, "password": self.secret_key}
        return {"conn_type": "flowroute", **keys, "host": self.url}

    @property
    def connection_json(self) -> str:
        """The Airflow connection as JSON, for ``AIRFLOW_CONN_FLOWROUTE_DEFAULT``."""
        return json.dumps(self.connection)

    @property
    def clock_ahead(self) -> float:
        """How many seconds the account's clock is ahead of this machine's; may be set, below 0 too."""
        return self._account.clock_ahead

    @clock_ahead.setter
    def clock_ahead(self, seconds: float) -> None:
        self._account.clock_ahead = seconds

    @property
    def exports(self) -> list[SimulatedExport]:
        """Copies of the account's exports as they are now, in order of creation."""
        return self._account.exports()

    @property
    def requests(self) -> list[RecordedRequest]:
        """Copies of the requests to either port, in order of arrival; those to control it left out."""
        return self._log.all()

    @property
    def callbacks(self) -> list[SentCallback]:
        """Copies of the callbacks that were sent, failed, or were not sent because they led elsewhere."""
        return self._callbacks.all()

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The faults still to come."""
        return self._faults.pending()

    @property
    def held(self) -> list[RecordedRequest]:
        """Copies of the requests that the fault ``held_request`` holds at the moment."""
        return self._held.all()

    def release(self) -> None:
        """Let every held request go on."""
        self._held.release()

    def csv(self, export_id: str) -> bytes:
        """Give the uncompressed file of an export, whatever faults do to its download.

        :param export_id: the id of a completed export.
        """
        return self._account.file(export_id).csv

    def add_fault(
        self, name: str, /, *, on: str | None = None, times: int | None = 1, **options: Any
    ) -> None:
        """Make the account misbehave.

        :param name: how; the simulator's page in the documentation has the table.
        :param on: which request: ``create``, ``status``, ``list`` or ``download``; None for the usual ones.
        :param times: how many requests it befalls; None for every one.
        :param options: the fault's own settings.
        """
        self._faults.add(name, on=on, times=times, **options)

    def clear_faults(self) -> None:
        """Drop the faults still to come. What they did to an export already stays."""
        self._faults.clear()

    def reset(self) -> None:
        """Forget exports, requests, callbacks and faults. Ids go on where they were."""
        self._faults.clear()
        self._account.reset()
        self._callbacks.clear()
        self._log.clear()

    def complete(self, export_id: str) -> None:
        """Complete an export now.

        :param export_id: the id of an export that is being processed.
        """
        self._account.end_now(export_id, "completed")

    def fail(self, export_id: str) -> None:
        """Let an export fail now.

        :param export_id: the id of an export that is being processed.
        """
        self._account.end_now(export_id, "failed")

    def _running(self, address: str) -> str:
        if not self._thread:
            raise RuntimeError(
                "The simulator does not run, so it has no address: use it as `with FlowrouteSimulator() as flowroute:`."
            )
        return address

    def _in_loop(self, what: Callable[..., object], *args: object) -> None:
        if self._loop:
            with contextlib.suppress(RuntimeError):  # closed: stopped in the meantime
                self._loop.call_soon_threadsafe(what, *args)

    def _wake(self) -> None:
        self._created.set()

    def _call_back(self, export: SimulatedExport) -> None:
        task = asyncio.get_running_loop().create_task(self._callbacks.send(export))
        self._calling_back.add(task)
        task.add_done_callback(self._calling_back.discard)

    def _run(
        self, loop: asyncio.AbstractEventLoop, sockets: list[socket.socket], ready: threading.Event
    ) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve(sockets, ready))

    async def _serve(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        api = self._api.application(self._log)
        add_control(api, self)
        runners = [
            web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
            for app in (api, self._storage.application(self._log))
        ]
        for runner, sock in zip(runners, sockets, strict=True):
            await runner.setup()
            await web.SockSite(runner, sock).start()
        processing = asyncio.create_task(self._process())
        ready.set()
        await self._stopping.wait()
        processing.cancel()
        for runner in runners:
            await runner.cleanup()

    async def _process(self) -> None:
        """End exports when their time has come, whether or not anybody looks."""
        while True:
            self._created.clear()
            await asyncio.to_thread(self._account.settle)
            try:
                async with asyncio.timeout(self._account.seconds_to_next()):
                    await self._created.wait()
            except TimeoutError:
                pass


def _listen(port: int, parameter: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((_HOST, port))
        sock.listen(128)
    except (OSError, OverflowError) as trouble:
        sock.close()
        raise OSError(
            f"The Flowroute simulator cannot listen on {_HOST}:{port} ({trouble}). "
            f"Stop what uses that port, or choose another {parameter}; 0 takes any that is free."
        ) from trouble
    return sock
