"""What a trigger registers with the poller of its connection: a wait for one export, or a watch of all exports."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_flowroute.cdr.export import CdrExport

#: Seconds that a wait continues after its deadline, or after the API's last answer, for its last poll. Each wait has a
#: random value between the two, so that waits with the same deadline do not end at the same moment.
LAST_POLL_GRACE = (0.6, 0.8)
#: The same for a wait that starts after its deadline, in a restarted triggerer: its only poll must be answered.
LATE_POLL_GRACE = 10
#: Seconds. A shorter ``poke_interval`` would keep the thread busy all the time.
MIN_POKE_INTERVAL = 0.05

#: The statuses of an update that ends a wait.
COMPLETED, FAILED, ERROR, TIMEOUT = ENDED = ("completed", "failed", "error", "timeout")
#: The statuses of an update after which the wait continues.
PROCESSING, RETRYING = "processing", "retrying"


@dataclass(eq=False)
class Wait:
    """The wait of one trigger for one export. Times are in seconds since the epoch.

    :param export_id: ID of the export.
    :param poke_interval: seconds between two polls.
    :param deadline: the last poll starts at this time or later.
    :param first_poll_at: time of the first poll.
    """

    export_id: str
    poke_interval: float
    deadline: float
    first_poll_at: float
    #: Each change of the status: a status and a message.
    updates: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    status: str | None = None
    message: str = "No poll was answered."
    failed_last_polls: int = 0
    joined_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.poke_interval = max(self.poke_interval, MIN_POKE_INTERVAL)
        self.next_poll_at = self.first_poll_at
        is_late = self.joined_at > self.deadline
        self.grace = LATE_POLL_GRACE if is_late else random.uniform(*LAST_POLL_GRACE)  # noqa: S311 - not a secret

    def update(self, status: str, message: str) -> None:
        """Record the result of a poll, and report it if the status has changed."""
        if self.status in ENDED:
            return
        self.message = message
        if status != self.status:
            self.status = status
            self.updates.put_nowait((status, message))
        if status in ENDED:
            self.next_poll_at = math.inf


@dataclass(eq=False)
class Watch:
    """The watch of one trigger over all exports of the account. It never ends.

    :param poke_interval: seconds between two polls.
    :param next_poll_at: time of the first poll, in seconds since the epoch.
    :param needs_next_page: whether a round must read the next page of the list, given all exports read so far.
    """

    poke_interval: float
    next_poll_at: float
    needs_next_page: Callable[[Sequence[CdrExport]], bool]
    #: What each round has read, newest first, or the message of an error.
    results: asyncio.Queue[list[CdrExport] | str] = field(default_factory=asyncio.Queue)
    deadline: float = math.inf

    def __post_init__(self) -> None:
        self.poke_interval = max(self.poke_interval, MIN_POKE_INTERVAL)

    def update(self, status: str, message: str) -> None:
        """Report an error. After a permanent one, the poller does not poll for this watch any longer."""
        if status in ENDED:
            self.next_poll_at = math.inf
        self.results.put_nowait(message)
