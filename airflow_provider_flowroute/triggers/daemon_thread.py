"""An executor with one daemon thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")


class DaemonThread(Executor):
    """Run calls one after another in a daemon thread.

    At exit, Python joins the thread of a ``ThreadPoolExecutor``: a hung request would delay the triggerer's stop.

    :param name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Run a call after all earlier ones."""
        future: Future[_T] = Future()
        self._calls.put((future, partial(function, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """End the thread after all earlier calls, without waiting for it."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as e:  # noqa: BLE001 - as in ThreadPoolExecutor: the caller gets the error
                    future.set_exception(e)
