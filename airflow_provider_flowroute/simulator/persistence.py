"""The state file: it keeps the account's exports between two runs of the simulator."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.simulator.exports import Outcome, SimulatedExport
from airflow_provider_flowroute.simulator.result_file import Totals

_INSTANTS = ("start", "end", "requested_at", "due", "completed_at", "expires_at")


def save(path: Path, next_id: int, exports: Mapping[str, SimulatedExport]) -> None:
    """Write the exports atomically.

    :param path: the state file.
    :param next_id: the ID of the next export.
    :param exports: the exports by ID.
    """
    state = {"next_id": next_id, "exports": [asdict(export) for export in exports.values()]}
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1, default=_to_json)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path) -> tuple[int, dict[str, SimulatedExport]]:
    """Read the next ID, and the exports by ID.

    :param path: the state file.
    :raises ValueError: if the file is damaged.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        exports = [_export(entry) for entry in state["exports"]]
        return int(state["next_id"]), {export.id: export for export in exports}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"The simulator cannot read its state file {path.name}.\nThe file {path} is damaged: {error!r}.\n"
            "Choose another file, or delete this file to start with an empty account."
        ) from error


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _export(entry: dict[str, Any]) -> SimulatedExport:
    values = {field.name: entry[field.name] for field in fields(SimulatedExport)}
    for name in _INSTANTS:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    outcome = values["outcome"]
    values["outcome"] = Outcome(**outcome | {"total_cost_off": Decimal(outcome["total_cost_off"])})
    if totals := values["totals"]:
        money = {name: Decimal(text) for name, text in totals["money"].items()}
        values["totals"] = Totals(totals["num_calls"], totals["billed_seconds"], money)
    return SimulatedExport(**values)
