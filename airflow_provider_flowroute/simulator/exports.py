"""An export as the account keeps it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.simulator.result_file import Totals


@dataclass(frozen=True)
class Outcome:
    """How an export is to end, where it is not the ordinary way.

    :param status: the status it ends with.
    :param num_calls_off: added to the number of calls that is reported.
    :param total_cost_off: added to the total cost that is reported, in USD.
    """

    status: str = "completed"
    num_calls_off: int = 0
    total_cost_off: Decimal = Decimal(0)


@dataclass
class SimulatedExport:
    """An export of the account.

    :param id: its id.
    :param status: ``processing``, ``completed``, ``failed``, or what a fault made of it.
    :param start: the window's first instant, UTC.
    :param end: the window's end, UTC.
    :param filter_parameters: the filters as sent, the window among them.
    :param callback_url: whom to tell when it is done.
    :param requested_at: when it was asked for, UTC.
    :param due: when it is done, UTC; None if never by itself.
    :param seed: the call history its file is from.
    :param calls_per_day: the mean number of calls a day in that history.
    :param outcome: how it is to end.
    :param completed_at: when it was done, UTC.
    :param expires_at: when its links stop working, UTC.
    :param totals: what its file adds up to, once completed.
    :param reads: how many times its status was read.
    :param downloads: how many times its file was asked for and sent, in whole or in part.
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
        """Where its file lies in the storage."""
        day = self.requested_at
        name = hashlib.sha256(f"{self.seed}/{self.id}/{day.isoformat()}".encode()).hexdigest()[:32]
        return f"flowroute-cdrexports/{self.id}/{day.year}/{day.month}/{day.day}/{name}.gz"
