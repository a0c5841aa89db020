"""The account's call history: generated calls, always the same for the same seed.

Each UTC hour of calls is generated from the seed and the hour only. So two windows that overlap contain the
same calls in the overlap, and adjacent windows are contiguous.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

from airflow_provider_flowroute.simulator import dialplan
from airflow_provider_flowroute.simulator.dialplan import OwnNumber, Place, is_tollfree

#: The columns of the file. They are listed here again on purpose: a mistake in the provider's own list must not
#: go unnoticed because the simulator shares it.
_HEADER = (
    "direction,start_time,end_time,destination,number_alias,callerid,total_cost,destination_name,callerid_country,"
    "line_information,result,call_fail_sip_code,call_fail_reason,duration,billed_duration,rate,first_increment,"
    "subsequent_increment,cost_subtotal,connect_fee,usf_fee,ccrf,cnam_lookup_fee,custom_x_tag,customer_ip,"
    "sip_callid,cdr_id,sip_from_tag,sip_to_tag"
)
COLUMNS = tuple(_HEADER.split(","))

#: The day of the published sample. The account has only the calls of the sample on this day.
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
# A working day on the US west coast, by UTC hour. The mean of the 24 values is 1.
_SHARE_OF_HOUR = tuple(
    share * 24 / 141
    for share in (9, 6, 4, 3, 2, 1, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 11, 10, 11, 12, 11, 9)
)
_SHARE_OF_WEEKDAY = (1.2, 1.25, 1.2, 1.2, 1.15, 0.6, 0.4)


@dataclass(frozen=True)
class Call:
    """A call detail record: its fields by column, its destination's ISO 3166 code, its start and end."""

    row: dict[str, str]
    country: str
    started: datetime
    ended: datetime


def generate_calls(
    seed: int, calls_per_day: float, start: datetime, end: datetime, ended_by: datetime
) -> Iterator[Call]:
    """Yield the calls that started in a window, newest first.

    :param ended_by: when the export was created. A call in progress at that time has no record yet.
    """
    end = min(end, ended_by)
    if end <= start:
        return
    last = (end - _EPOCH - timedelta(microseconds=1)) // _HOUR
    for hour in range(last, (start - _EPOCH) // _HOUR - 1, -1):
        for call in _calls_of_hour(seed, calls_per_day, _EPOCH + hour * _HOUR):
            if start <= call.started < end and call.ended <= ended_by:
                yield call


def _calls_of_hour(seed: int, calls_per_day: float, hour: datetime) -> list[Call]:
    if SAMPLE_DAY <= hour < SAMPLE_DAY + timedelta(days=1):
        return [call for call in map(_sample, SAMPLE_ROWS) if hour <= call.started < hour + _HOUR]
    mean = calls_per_day / 24 * _SHARE_OF_HOUR[hour.hour] * _SHARE_OF_WEEKDAY[hour.weekday()]
    if mean <= 0:
        return []
    rng = random.Random(f"{seed}/{hour:%Y-%m-%dT%H}")
    calls = []
    second = rng.expovariate(mean / 3600)
    while second < 3600:
        calls.append(_call(rng, hour + timedelta(seconds=int(second))))
        second += rng.expovariate(mean / 3600)
    return calls[::-1]


def _sample(line: str) -> Call:
    row = dict.fromkeys(COLUMNS, "") | dict(zip(COLUMNS, line.split(","), strict=False))
    started, ended = (datetime.fromisoformat(row[name] + ":00") for name in ("start_time", "end_time"))
    return Call(row, "US", started, ended)


def _call(rng: random.Random, started: datetime) -> Call:
    own = rng.choice(dialplan.OWN_NUMBERS)
    inbound = rng.random() < 0.4
    place = _pick(rng, dialplan.CALLERS if inbound else dialplan.DESTINATIONS)
    number = _number(rng, place)
    result, code, reason, duration = _outcome(rng)
    row = _inbound(rng, own, place, number) if inbound else _outbound(rng, own, place, number)
    ended = started + timedelta(seconds=duration)
    row |= {"start_time": _time(started), "end_time": _time(ended), "duration": str(duration)}
    row |= {"result": result, "call_fail_sip_code": code, "call_fail_reason": reason}
    row |= {"number_alias": own.alias}
    row |= _bill(rng, own, place, duration, inbound) | _sip(rng, answered=result == "completed")
    return Call({name: row[name] for name in COLUMNS}, "US" if inbound else place.iso, started, ended)


def _pick(rng: random.Random, places: tuple[Place, ...]) -> Place:
    return rng.choices(places, [place.weight for place in places])[0]


def _number(rng: random.Random, place: Place) -> str:
    number = place.template.replace("*", rng.choice(dialplan.AREA_CODES))
    return "".join(str(rng.randrange(10)) if digit == "#" else digit for digit in number)


def _outcome(rng: random.Random) -> tuple[str, str, str, int]:
    chance = rng.random()
    if chance < 0.78:
        return "completed", "200", "OK", 1 + min(int(rng.lognormvariate(4.2, 1.1)), 4 * 3600)
    if chance < 0.88:
        return "cancelled", "487", "Request Terminated", 0
    code, reason, _ = rng.choices(dialplan.FAILURES, [weight for *_, weight in dialplan.FAILURES])[0]
    return "failed", code, reason, 0


def _inbound(rng: random.Random, own: OwnNumber, place: Place, number: str) -> dict[str, str]:
    hidden = rng.random() < 0.05
    return {
        "direction": "inbound" if rng.random() < 0.15 else "Inbound",
        "destination": own.number,
        "callerid": rng.choice(("anonymous", "")) if hidden else f"+{number}",
        "destination_name": dialplan.TOLLFREE_NAME if is_tollfree(own.number) else dialplan.UNITED_STATES,
        "callerid_country": "N/A" if hidden else place.country,
        "line_information": rng.choice(("", "0", "61", "62")),
        "custom_x_tag": "",
        "customer_ip": rng.choice(dialplan.CUSTOMER_IPS),
    }


def _outbound(rng: random.Random, own: OwnNumber, place: Place, number: str) -> dict[str, str]:
    return {
        "direction": "outbound" if rng.random() < 0.15 else "Outbound",
        "destination": number,
        "callerid": "anonymous" if rng.random() < 0.03 else f"+{own.number}",
        "destination_name": place.destination_name,
        "callerid_country": "N/A",
        "line_information": "",
        "custom_x_tag": rng.choice(dialplan.X_TAGS) if rng.random() < 0.2 else "",
        "customer_ip": f"{rng.choice(dialplan.CUSTOMER_IPS)}:{rng.choice((5060, 5080))}",
    }


def _bill(rng: random.Random, own: OwnNumber, place: Place, duration: int, inbound: bool) -> dict[str, str]:
    """Calculate the cost of a call. All amounts are exact decimals, so that the fees add up to the total."""
    first, subsequent = (6, 6) if inbound else place.increments
    billed = first + max(0, -(-(duration - first) // subsequent)) * subsequent if duration else 0
    own_rate = dialplan.INBOUND_TOLLFREE_RATE if is_tollfree(own.number) else dialplan.INBOUND_RATE
    rate = own_rate if inbound else Decimal(rng.choice(place.rates))
    subtotal = (rate * billed / 60).quantize(_EIGHT_PLACES)
    domestic = inbound or place.iso == "US"
    interstate = not inbound and domestic and rng.random() < 0.3
    fees = {
        "cost_subtotal": subtotal,
        "connect_fee": place.connect_fee if duration and not inbound else Decimal("0.0000"),
        "usf_fee": (subtotal * dialplan.USF_SHARE * interstate).quantize(_EIGHT_PLACES),
        "ccrf": (subtotal * dialplan.CCRF_SHARE * domestic).quantize(_EIGHT_PLACES),
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


def _sip(rng: random.Random, answered: bool) -> dict[str, str]:
    return {
        "sip_callid": f"{rng.getrandbits(96):024x}@{rng.choice(dialplan.CUSTOMER_IPS)}",
        "cdr_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "sip_from_tag": f"as{rng.getrandbits(32):08x}",
        "sip_to_tag": f"gK{rng.getrandbits(32):08x}" if answered else "",
    }


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}+00"
