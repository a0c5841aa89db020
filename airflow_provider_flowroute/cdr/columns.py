"""The columns of an export's file, and their types."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

#: The columns of the newest files, in their order. Older files end with ``customer_ip``.
COLUMNS: tuple[str, ...] = (
    "direction",
    "start_time",
    "end_time",
    "destination",
    "number_alias",
    "callerid",
    "total_cost",
    "destination_name",
    "callerid_country",
    "line_information",
    "result",
    "call_fail_sip_code",
    "call_fail_reason",
    "duration",
    "billed_duration",
    "rate",
    "first_increment",
    "subsequent_increment",
    "cost_subtotal",
    "connect_fee",
    "usf_fee",
    "ccrf",
    "cnam_lookup_fee",
    "custom_x_tag",
    "customer_ip",
    "sip_callid",
    "cdr_id",
    "sip_from_tag",
    "sip_to_tag",
)
#: The columns that the reconciliation of a file uses.
RECONCILED_COLUMNS: tuple[str, ...] = ("start_time", "total_cost", "billed_duration", "cdr_id")
#: The columns without which a file is rejected.
REQUIRED: tuple[str, ...] = ("direction", "start_time", "destination", "callerid")

#: Times in UTC.
TIMES = frozenset({"start_time", "end_time"})
#: US dollars with up to :data:`MONEY_SCALE` decimal places.
MONEY = frozenset(
    {"total_cost", "rate", "cost_subtotal", "connect_fee", "usf_fee", "ccrf", "cnam_lookup_fee"}
)
#: Seconds, as 32-bit integers.
SECONDS = frozenset({"duration", "billed_duration", "first_increment", "subsequent_increment"})

MONEY_PRECISION, MONEY_SCALE = 18, 8
_MAX_MONEY = Decimal(10) ** (MONEY_PRECISION - MONEY_SCALE)
_SMALLEST_MONEY = Decimal(1).scaleb(-MONEY_SCALE)
_MAX_SECONDS = 2**31

Value = datetime | Decimal | int | str | None


def parse_value(column: str, text: str) -> Value:
    """Parse one value of the file by the type of its column. An empty value is None.

    :param column: name of the column.
    :param text: the value.
    :raises ValueError: with the expected format.
    """
    if text == "":
        return None
    if column in TIMES:
        return _time(text)
    if column in MONEY:
        return _money(text)
    if column in SECONDS:
        return _seconds(text)
    return text


def _time(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ValueError("a time such as 2019-06-25 18:18:54+00")
    return instant.astimezone(UTC)


def _money(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount) >= _MAX_MONEY or amount != amount.quantize(_SMALLEST_MONEY):
        raise ValueError(
            f"US dollars, with at most {MONEY_PRECISION - MONEY_SCALE} digits before the decimal point and "
            f"{MONEY_SCALE} after it"
        )
    return amount


def _seconds(text: str) -> int:
    try:
        seconds = int(text)
    except ValueError:
        seconds = _MAX_SECONDS
    if not -_MAX_SECONDS <= seconds < _MAX_SECONDS:
        raise ValueError("a whole number of seconds that fits 32 bits")
    return seconds
