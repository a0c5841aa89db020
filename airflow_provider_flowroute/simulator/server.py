"""The simulator: two ports, one event loop, one thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from airflow_provider_flowroute.simulator.api import Api
from airflow_provider_flowroute.simulator.callbacks import Callbacks, SentCallback
from airflow_provider_flowroute.simulator.control import add_control
from airflow_provider_flowroute.simulator.export_store import ExportStore
from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.faults import FaultQueue
from airflow_provider_flowroute.simulator.presigning import Presigner
from airflow_provider_flowroute.simulator.request_log import RecordedRequest, RequestLog
from airflow_provider_flowroute.simulator.serializers import CALLBACK_URL_ECHOES
from airflow_provider_flowroute.simulator.state import AccountState
from airflow_provider_flowroute.simulator.storage import Storage

_HOST = "127.0.0.1"


class FlowrouteSimulator:
    """A simulated Flowroute account on localhost. It runs until the ``with`` block ends.

    Every attribute and method is safe to use from any thread.

    :param seed: selects the call history; the same seed gives the same files.
    :param calls_per_day: the mean number of calls in a UTC day.
    :param processing_seconds: how long an export stays ``processing``; ``float("inf")``: until
        :meth:`complete` or :meth:`fail`.
    :param port: the API's port; 0 for any free port.
    :param download_port: the storage's port; 0 for any free port.
    :param access_key: the only access key that is accepted.
    :param secret_key: its secret key.
    :param link_seconds: how long the links of a completed export are valid, in seconds.
    :param state: a file that keeps the exports between runs; None to discard them.
    :param callback_retries: how many times a callback is repeated if the answer is not 200.
    :param callback_retry_seconds: the seconds between two repetitions of a callback.
    :param callback_url_echo: how responses show the callback URL of an export: ``exact``, ``trailing_slash``,
        ``escaped``, ``null`` or ``omitted``.
    :param on_request: called with each request after it is answered, in the simulator's thread.
    :raises ValueError: if an option is not valid, or the file ``state`` cannot be read.
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
        secret_key: str = "demo-secret-key",  # noqa: S107 - only valid here
        link_seconds: float = 259200,
        state: str | Path | None = None,
        callback_retries: int = 4,
        callback_retry_seconds: float = 30,
        callback_url_echo: str = "exact",
        on_request: Callable[[RecordedRequest], None] | None = None,
    ) -> None:
        if callback_url_echo not in CALLBACK_URL_ECHOES:
            raise ValueError(
                f"The simulator has no callback_url_echo {callback_url_echo!r}.\n"
                f"Use one of: {', '.join(CALLBACK_URL_ECHOES)}."
            )
        self.access_key = access_key
        self.secret_key = secret_key
        self._ports = {"port": port, "download_port": download_port}
        exports = ExportStore(
            seed,
            calls_per_day,
            processing_seconds,
            link_seconds,
            Path(state) if state is not None else None,
            on_ended=lambda export: self._in_loop(self._send_callback, export),
        )
        faults = FaultQueue()
        self._state = AccountState(
            access_key,
            secret_key,
            exports,
            Presigner(seed, exports.now),
            RequestLog(on_request),
            faults,
            Callbacks(faults, callback_retries, callback_retry_seconds),
            callback_url_echo,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._callback_tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> FlowrouteSimulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Open both ports and answer requests until :meth:`stop`.

        :raises OSError: if a port is not available.
        :raises RuntimeError: if the simulator is running.
        """
        if self._thread:
            raise RuntimeError("This simulator is already running.\nStop it first, or create another one.")
        with contextlib.ExitStack() as on_error:
            sockets = [on_error.enter_context(_listen(port, name)) for name, port in self._ports.items()]
            on_error.pop_all()
        self._state.url, self._state.download_origin = (
            f"http://{_HOST}:{sock.getsockname()[1]}" for sock in sockets
        )
        ready = threading.Event()
        serving = self._serve(sockets, ready)
        self._thread = threading.Thread(
            target=asyncio.run, args=(serving,), name="flowroute-simulator", daemon=True
        )
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Close both ports and end the thread. Do nothing if the simulator is not running."""
        thread, self._thread = self._thread, None
        if thread:
            self._in_loop(self._stopping.set)
            thread.join()
            self._state.exports.save()

    @property
    def url(self) -> str:
        """The address of the API: the connection's host."""
        return self._running(self._state.url)

    @property
    def download_origin(self) -> str:
        """The address of the storage, to which the download links point."""
        return self._running(self._state.download_origin)

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
        """How many seconds the account's clock is ahead of this machine's. Can be set; can be negative."""
        return self._state.exports.clock_ahead

    @clock_ahead.setter
    def clock_ahead(self, seconds: float) -> None:
        self._state.exports.clock_ahead = seconds

    @property
    def exports(self) -> list[SimulatedExport]:
        """Copies of the account's exports in their current state, in order of creation."""
        return self._state.exports.all()

    @property
    def requests(self) -> list[RecordedRequest]:
        """Copies of the requests to either port, in order of arrival, without those to the control endpoints."""
        return self._state.request_log.all()

    @property
    def callbacks(self) -> list[SentCallback]:
        """Copies of the callbacks that were sent, that failed, or that were for another machine."""
        return self._state.callbacks.all()

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The pending faults."""
        return self._state.faults.pending()

    @property
    def held(self) -> list[RecordedRequest]:
        """Copies of the requests that the fault ``held_request`` currently holds."""
        return self._state.request_log.held()

    def release(self) -> None:
        """Release every held request."""
        self._state.request_log.release()

    def csv(self, export_id: str) -> bytes:
        """Return the uncompressed file of an export. Faults do not change it.

        :param export_id: the ID of a completed export.
        :raises KeyError: if the account has no such export.
        :raises ValueError: if the export is not completed.
        """
        return self._state.exports.file(export_id).csv

    def add_fault(
        self, name: str, /, *, on: str | None = None, times: int | None = 1, **options: Any
    ) -> None:
        """Simulate a fault.

        :param name: the fault; the simulator's page in the documentation lists them.
        :param on: the affected request: ``create``, ``status``, ``list``, ``download`` or ``callback``;
            None for the default.
        :param times: how many requests are affected; None for all.
        :param options: the options of the fault.
        :raises ValueError: if the fault, the request or an option is not valid.
        """
        self._state.faults.add(name, on=on, times=times, **options)

    def clear_faults(self) -> None:
        """Remove the pending faults. Exports that a fault has changed stay changed."""
        self._state.faults.clear()

    def reset(self) -> None:
        """Delete all exports, requests, callbacks and faults. IDs are not used again."""
        self._state.reset()

    def complete(self, export_id: str) -> None:
        """Complete an export now.

        :param export_id: the ID of an export that is processing.
        :raises KeyError: if the account has no such export.
        :raises ValueError: if the export has ended.
        """
        self._state.exports.end_now(export_id, "completed")

    def fail(self, export_id: str) -> None:
        """Let an export fail now.

        :param export_id: the ID of an export that is processing.
        :raises KeyError: if the account has no such export.
        :raises ValueError: if the export has ended.
        """
        self._state.exports.end_now(export_id, "failed")

    def _running(self, address: str) -> str:
        if not self._thread:
            raise RuntimeError(
                "The simulator is not running, so it has no address.\n"
                "Use it as `with FlowrouteSimulator() as flowroute:`."
            )
        return address

    def _in_loop(self, function: Callable[..., object], *args: object) -> None:
        if self._loop:
            with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                self._loop.call_soon_threadsafe(function, *args)

    def _send_callback(self, export: SimulatedExport) -> None:
        task = asyncio.get_running_loop().create_task(self._state.callbacks.send(export))
        self._callback_tasks.add(task)
        task.add_done_callback(self._callback_tasks.discard)

    async def _serve(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._state.export_created, self._stopping = asyncio.Event(), asyncio.Event()
        api = Api(self._state).application()
        add_control(api, self._state)
        runners = [
            web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
            for app in (api, Storage(self._state).application())
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
        """End exports when they are due, without any request."""
        while True:
            self._state.export_created.clear()
            await asyncio.to_thread(self._state.exports.end_due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._state.exports.seconds_to_next()):
                    await self._state.export_created.wait()


def _listen(port: int, parameter: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((_HOST, port))
        sock.listen(128)
    except (OSError, OverflowError) as error:
        sock.close()
        raise OSError(
            f"The Flowroute simulator cannot listen on {_HOST}:{port}.\n{error}\n"
            f"Stop the process that uses this port, or choose another {parameter}; 0 selects any free port."
        ) from error
    return sock
