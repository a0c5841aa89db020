"""An account whose calls a test chooses: each download has the calls as they are then."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.cdr.columns import COLUMNS, FEE_COLUMNS
from airflow_provider_flowroute.cdr.window import format_instant
from tests.support import Answer, serving


def a_call(cdr_id: str, started: datetime | None, **values: str) -> dict[str, str]:
    """A row of the file."""
    start = f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00" if started else ""
    row = {
        "direction": "Inbound",
        "start_time": start,
        "destination": "1",
        "callerid": "+2",
        "cdr_id": cdr_id,
    }
    amounts = {"total_cost": "0.01000000", "cost_subtotal": "0.00900000", "ccrf": "0.00100000"}
    zeros = dict.fromkeys(("connect_fee", "usf_fee", "cnam_lookup_fee"), "0.0000")
    return {**dict.fromkeys(COLUMNS, ""), **row, **amounts, **zeros, "billed_duration": "6", **values}


@dataclass
class CallAccount:
    """An account with one export of all calls, and the number of its downloads."""

    start: datetime
    end: datetime
    calls: list[dict[str, str]]
    #: Attributes of the export that replace those of its calls.
    reported: dict[str, Any] = field(default_factory=dict)
    downloads: int = 0
    url: str = ""

    def answer(self, request: Answer) -> None:
        if request.path == "/file":
            self.downloads += 1
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.calls)
            request.send(200, gzip.compress(text.getvalue().encode(), 1))
            return
        export_id = request.path.rpartition("/")[-1]
        request.send(200, {"data": {"id": export_id, "attributes": {**self.attributes(), **self.reported}}})

    def attributes(self) -> dict[str, Any]:
        def total(column: str) -> str:
            amount = sum((Decimal(call[column] or 0) for call in self.calls), Decimal(0))
            return f"{amount:.6f}" if amount else "0.0"

        return {
            "status": "completed",
            "download_url": f"{self.url}/file",
            "num_calls": len(self.calls),
            "total_cost": total("total_cost"),
            "billed_minutes": round(sum(int(call["billed_duration"]) for call in self.calls) / 60, 2),
            **{name: total(column) for name, column in FEE_COLUMNS.items()},
            "filter_parameters": {
                "start_call_start_time": format_instant(self.start),
                "start_call_end_time": format_instant(self.end),
            },
        }


@contextmanager
def serving_calls(start: datetime, end: datetime, calls: list[dict[str, str]]) -> Iterator[CallAccount]:
    """Run an account. Any ID is an export of it."""
    account = CallAccount(start, end, calls)
    with serving(account.answer) as server:
        account.url = server.url
        yield account
