"""The values of a CSV by a second, slow way, to compare with."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from airflow_provider_flowroute.cdr.columns import MONEY, SECONDS, TIMES


def typed_value(column: str, text: str) -> datetime | Decimal | int | str | None:
    """The value of a text in a column; None for an empty one."""
    if text == "":
        return None
    if column in TIMES:
        return datetime.fromisoformat(text)
    if column in MONEY:
        return Decimal(text)
    return int(text) if column in SECONDS else text
