"""An export as the account stores it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.simulator.result_file import Totals


@dataclass(frozen=True)
class Outcome:
    """How an export ends, if a fault changes it.

    :param status: the final status.
    :param num_calls_off: added to the number of calls that is reported.
    :param total_cost_off: added to the total cost that is reported, in USD.
    """

    status: str = "completed"
    num_calls_off: int = 0
    total_cost_off: Decimal = Decimal(0)


@dataclass
class SimulatedExport:
    """An export of the account.

    :param id: its ID.
    :param status: ``processing``, ``completed``, ``failed``, or the status that a fault sets.
    :param start: the start of the window, UTC.
    :param end: the end of the window, UTC.
    :param filter_parameters: the filters as sent, including the window.
    :param callback_url: where to send the callback.
    :param requested_at: when it was created, UTC.
    :param due: when it ends, UTC; None if it does not end by itself.
    :param seed: selects the call history of its file.
    :param calls_per_day: the mean number of calls a day in that history.
    :param outcome: how it ends.
    :param completed_at: when it ended, UTC.
    :param expires_at: when its links expire, UTC.
    :param totals: the totals of its file, once completed.
    :param reads: how many times its status was requested.
    :param downloads: how many times its file was downloaded, completely or in part.
    """

    id: str
    status: str
    start: datetime
    end: datetime
    filter_parameters: dict[str, Any]
    callback_url: str | None
    requested_at: datetime
    due: datetime | None
    seed: int
    calls_per_day: float
    outcome: Outcome = field(default_factory=Outcome)
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    totals: Totals | None = None
    reads: int = 0
    downloads: int = 0

    @property
    def num_calls(self) -> int | None:
        """The number of rows in its file; None unless it is completed."""
        return self.totals.num_calls if self.totals else None

    @property
    def total_cost(self) -> Decimal | None:
        """The exact sum of its file's ``total_cost``, in USD; None unless it is completed."""
        return self.totals.money["total_cost"] if self.totals else None

    @property
    def object_key(self) -> str:
        """The key of its file in the storage."""
        day = self.requested_at
        name = hashlib.sha256(f"{self.seed}/{self.id}/{day.isoformat()}".encode()).hexdigest()[:32]
        return f"flowroute-cdrexports/{self.id}/{day.year}/{day.month}/{day.day}/{name}.gz"
