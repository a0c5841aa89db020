"""The columns of an export's file, and their types."""

from __future__ import annotations

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
#: The fees of an export by Flowroute's names, and the column whose sum each of them is.
FEE_COLUMNS: dict[str, str] = {
    "call_subtotal": "cost_subtotal",
    "connect_fees": "connect_fee",
    "cnamlookup_fees": "cnam_lookup_fee",
    "usf_fees": "usf_fee",
    "ccrf": "ccrf",
}
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
