"""An export as the account stores it, and the state file that keeps the exports between two runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.simulator.result_file import Totals

_INSTANTS = ("start", "end", "requested_at", "due", "completed_at", "expires_at")


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
    :param final_status: the status it ends with.
    :param num_calls_off: what a fault adds to the reported number of calls.
    :param total_cost_off: what a fault adds to the reported total cost, in USD.
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
    final_status: str = "completed"
    num_calls_off: int = 0
    total_cost_off: Decimal = Decimal(0)
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


def to_json(value: object) -> str:
    """Return the text of a time or an amount, for ``json.dumps``."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def save_exports(path: Path, next_id: int, exports: Mapping[str, SimulatedExport]) -> None:
    """Write the exports atomically."""
    state = {"next_id": next_id, "exports": [asdict(export) for export in exports.values()]}
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(json.dumps(state, indent=1, default=to_json), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def load_exports(path: Path) -> tuple[int, dict[str, SimulatedExport]]:
    """Read the next ID, and the exports by ID."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        exports = [_from_json(entry) for entry in state["exports"]]
        return int(state["next_id"]), {export.id: export for export in exports}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"The simulator cannot read its state file {path.name}.\nThe file {path} is damaged: {error!r}.\n"
            "Choose another file, or delete this file to start with an empty account."
        ) from error


def _from_json(entry: Mapping[str, Any]) -> SimulatedExport:
    values = {field.name: entry[field.name] for field in fields(SimulatedExport)}
    for name in _INSTANTS:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["total_cost_off"] = Decimal(values["total_cost_off"])
    if totals := values["totals"]:
        money = {name: Decimal(text) for name, text in totals["money"].items()}
        values["totals"] = Totals(**totals | {"money": money})
    return SimulatedExport(**values)
