"""The pollers of this triggerer: one for each connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_flowroute.triggers.poller import Poller
from airflow_provider_flowroute.triggers.waits import Wait, Watch

_pollers: dict[tuple[asyncio.AbstractEventLoop, str], Poller] = {}


@contextmanager
def joined(options: dict[str, Any], wait: Wait | Watch) -> Iterator[Poller]:
    """Let the poller of a connection poll for a wait or a watch, until the block ends.

    A poller belongs to an event loop, and to a connection with all its settings. After a change of the connection,
    new waits get a new poller, while earlier waits keep theirs, and the settings they started with.

    :param options: parameters of the :class:`.FlowrouteClient`; its name is the ID of the connection.
    :param wait: the wait or the watch.
    """
    key = asyncio.get_running_loop(), repr(options)
    if key not in _pollers:
        _pollers[key] = Poller(options, wait.next_poll_at, on_close=lambda: _pollers.pop(key, None))
    poller = _pollers[key]
    poller.join(wait)
    try:
        yield poller
    finally:
        poller.leave(wait)
