"""The account's call history, made up: the same seed always remembers the same calls.

Calls are made one UTC hour at a time, from the seed and the hour alone. So any two windows agree on the
calls they share, and adjacent windows tile.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import cast

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.simulator import dialplan
from airflow_provider_flowroute.simulator.dialplan import OwnNumber, Place

#: The day of which real rows are known. The account's history holds these and no others on it.
SAMPLE_DAY = datetime(2019, 6, 25, tzinfo=UTC)
SAMPLE_COLUMNS = 25
SAMPLE_ROWS = (
    "Outbound,2019-06-25 18:18:54+00,2019-06-25 18:19:31+00,18774551500,Office Line 2,+12063389999,0.00000000,"
    "UNITED STATES - TOLL FREE,N/A,,completed,200,OK,37,42,0.000000,6,6,0.00000000,0.0000,0.00000000,0.00000000,"
    "0.00000000,,53.186.152.52:5080",
    "Inbound,2019-06-25 18:18:00+00,2019-06-25 18:18:29+00,12063389999,Office Line 2,+12069928999,0.00474784,"
    "UNITED STATES,UNITED STATES,61,completed,200,OK,29,30,0.001500,6,6,0.00075000,0.0000,0.00000000,0.00009784,"
    "0.00390000,,53.186.152.52",
    "Outbound,2019-06-25 18:15:38+00,2019-06-25 18:17:24+00,12069928999,Office Line 1,+12063389998,0.01994112,"
    "UNITED STATES,N/A,,completed,200,OK,106,108,0.009800,6,6,0.01764000,0.0000,0.00000000,0.00230112,0.00000000,,"
    "53.186.151.52:5080",
)

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EIGHT_PLACES = Decimal("0.00000001")
# The working day of the US west coast, in UTC hours; the mean of the 24 is 1.
_SHARE_OF_HOUR = tuple(
    share * 24 / 141
    for share in (9, 6, 4, 3, 2, 1, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 11, 10, 11, 12, 11, 9)
)
_SHARE_OF_WEEKDAY = (1.2, 1.25, 1.2, 1.2, 1.15, 0.6, 0.4)


@dataclass(frozen=True)
class Call:
    """One call detail record.

    :param row: its fields as the file shows them, by column.
    :param country: the ISO two-letter code of the country called.
    :param started: when it began, UTC.
    :param ended: when it ended, UTC.
    """

    row: dict[str, str]
    country: str
    started: datetime
    ended: datetime

    @cached_property
    def total_cost(self) -> Decimal:
        """What it cost, in USD, exactly."""
        return Decimal(self.row["total_cost"])


class CallHistory:
    """Every call the account ever made or took.

    :param seed: which history; the same seed gives the same calls.
    :param calls_per_day: the mean number of calls in a UTC day.
    """

    def __init__(self, seed: int, calls_per_day: float) -> None:
        self.seed = seed
        self.calls_per_day = calls_per_day

    def between(self, start: datetime, end: datetime, ended_by: datetime) -> Iterator[Call]:
        """Give the calls that began in a window, newest first.

        :param start: the window's first instant, UTC.
        :param end: the window's end, UTC; a call that begins then is not in it.
        :param ended_by: when the file is asked for. A call still up then has no record yet.
        """
        end = min(end, ended_by)
        if end <= start:
            return
        last = (end - _EPOCH - timedelta(microseconds=1)) // _HOUR
        for hour in range(last, (start - _EPOCH) // _HOUR - 1, -1):
            for call in self._of_hour(_EPOCH + hour * _HOUR):
                if start <= call.started < end and call.ended <= ended_by:
                    yield call

    def _of_hour(self, hour: datetime) -> list[Call]:
        """Make the calls of one UTC hour, newest first."""
        if SAMPLE_DAY <= hour < SAMPLE_DAY + timedelta(days=1):
            return [call for call in map(_sample, SAMPLE_ROWS) if hour <= call.started < hour + _HOUR]
        mean = self.calls_per_day / 24 * _SHARE_OF_HOUR[hour.hour] * _SHARE_OF_WEEKDAY[hour.weekday()]
        if mean <= 0:
            return []
        dice = random.Random(f"{self.seed}/{hour:%Y-%m-%dT%H}")
        calls = []
        second = dice.expovariate(mean / 3600)
        while second < 3600:
            calls.append(_call(dice, hour + timedelta(seconds=int(second))))
            second += dice.expovariate(mean / 3600)
        return calls[::-1]


def _sample(line: str) -> Call:
    row = dict.fromkeys(COLUMNS, "") | dict(zip(COLUMNS, line.split(","), strict=False))
    started, ended = (datetime.fromisoformat(row[name] + ":00") for name in ("start_time", "end_time"))
    return Call(row, "US", started, ended)


def _call(dice: random.Random, started: datetime) -> Call:
    own = dice.choice(dialplan.OWN_NUMBERS)
    inbound = dice.random() < 0.4
    place = _pick(dice, dialplan.CALLERS if inbound else dialplan.DESTINATIONS)
    number = _number(dice, place)
    result, code, reason, duration = _outcome(dice)
    row = _inbound(dice, own, place, number) if inbound else _outbound(dice, own, place, number)
    ended = started + timedelta(seconds=duration)
    row |= {"start_time": _time(started), "end_time": _time(ended), "number_alias": own.alias}
    row |= {
        "result": result,
        "call_fail_sip_code": code,
        "call_fail_reason": reason,
        "duration": str(duration),
    }
    row |= _bill(dice, own, place, duration, inbound) | _sip(dice, answered=result == "completed")
    return Call({name: row[name] for name in COLUMNS}, "US" if inbound else place.iso, started, ended)


def _pick(dice: random.Random, places: tuple[Place, ...]) -> Place:
    return dice.choices(places, [place.weight for place in places])[0]


def _number(dice: random.Random, place: Place) -> str:
    number = place.template.replace("*", dice.choice(dialplan.AREA_CODES))
    return "".join(str(dice.randrange(10)) if digit == "#" else digit for digit in number)


def _outcome(dice: random.Random) -> tuple[str, str, str, int]:
    chance = dice.random()
    if chance < 0.78:
        return "completed", "200", "OK", 1 + min(int(dice.lognormvariate(4.2, 1.1)), 4 * 3600)
    if chance < 0.88:
        return "cancelled", "487", "Request Terminated", 0
    code, reason, _ = dice.choices(dialplan.FAILURES, [often for *_, often in dialplan.FAILURES])[0]
    return "failed", code, reason, 0


def _inbound(dice: random.Random, own: OwnNumber, place: Place, number: str) -> dict[str, str]:
    hidden = dice.random() < 0.05
    return {
        "direction": "inbound" if dice.random() < 0.15 else "Inbound",
        "destination": own.number,
        "callerid": dice.choice(("anonymous", "")) if hidden else f"+{number}",
        "destination_name": dialplan.TOLLFREE_NAME if own.tollfree else dialplan.UNITED_STATES,
        "callerid_country": "N/A" if hidden else place.country,
        "line_information": dice.choice(("", "0", "61", "62")),
        "custom_x_tag": "",
        "customer_ip": dice.choice(dialplan.CUSTOMER_IPS),
    }


def _outbound(dice: random.Random, own: OwnNumber, place: Place, number: str) -> dict[str, str]:
    return {
        "direction": "outbound" if dice.random() < 0.15 else "Outbound",
        "destination": number,
        "callerid": "anonymous" if dice.random() < 0.03 else f"+{own.number}",
        "destination_name": place.destination_name,
        "callerid_country": "N/A",
        "line_information": "",
        "custom_x_tag": dice.choice(dialplan.X_TAGS) if dice.random() < 0.2 else "",
        "customer_ip": f"{dice.choice(dialplan.CUSTOMER_IPS)}:{dice.choice((5060, 5080))}",
    }


def _bill(dice: random.Random, own: OwnNumber, place: Place, duration: int, inbound: bool) -> dict[str, str]:
    """Work out what a call costs: every amount an exact decimal, so that the parts add up to the total."""
    first, subsequent = (6, 6) if inbound else place.increments
    billed = first + max(0, -(-(duration - first) // subsequent)) * subsequent if duration else 0
    own_rate = dialplan.INBOUND_TOLLFREE_RATE if own.tollfree else dialplan.INBOUND_RATE
    rate = own_rate if inbound else dice.choice(place.rates)
    subtotal = (rate * billed / 60).quantize(_EIGHT_PLACES)
    interstate = not inbound and place.domestic and dice.random() < 0.3
    fees = {
        "cost_subtotal": subtotal,
        "connect_fee": place.connect_fee if duration and not inbound else Decimal("0.0000"),
        "usf_fee": (subtotal * dialplan.USF_SHARE * interstate).quantize(_EIGHT_PLACES),
        "ccrf": (subtotal * dialplan.CCRF_SHARE * (inbound or place.domestic)).quantize(_EIGHT_PLACES),
        "cnam_lookup_fee": dialplan.CNAM_LOOKUP_FEE if inbound else Decimal("0.00000000"),
    }
    total = cast("Decimal", sum(fees.values())).quantize(_EIGHT_PLACES)
    return {name: f"{fee:f}" for name, fee in fees.items()} | {
        "total_cost": f"{total:f}",
        "rate": f"{rate:f}",
        "billed_duration": str(billed),
        "first_increment": str(first),
        "subsequent_increment": str(subsequent),
    }


def _sip(dice: random.Random, answered: bool) -> dict[str, str]:
    return {
        "sip_callid": f"{dice.getrandbits(96):024x}@{dice.choice(dialplan.CUSTOMER_IPS)}",
        "cdr_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "sip_from_tag": f"as{dice.getrandbits(32):08x}",
        "sip_to_tag": f"gK{dice.getrandbits(32):08x}" if answered else "",
    }


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}+00"
