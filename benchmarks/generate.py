"""Create the file that the benchmarks read: in Flowroute's format, with any number of calls, always the same.

The simulator is too slow for this: it creates a few thousand plausible calls a second. Here only size, distribution and
compressibility matter: 339 MB of CSV and 96 MB of gzip for a million calls of 29 columns.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from airflow_provider_flowroute.cdr.columns import COLUMNS

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 31
_BLOCK = 20_000
_PLACES = (
    "UNITED STATES",
    "UNITED STATES - TOLL FREE",
    "CANADA",
    "UNITED KINGDOM - MOBILE",
    "GERMANY",
    "MEXICO",
)
_ALIASES = ("Office Line 1", "Office Line 2", "Büro München", "", "Hotline", "Orders") * 8 + (
    '"Sales, West"',
    '"Support ""24/7"""',
)
_TAGS = ("", "", "", "tenant-17", "campaign:spring")
_OUTCOMES = (("completed", 200, "OK"), ("cancelled", 487, "Request Terminated"), ("failed", 486, "Busy Here"))


@dataclass(frozen=True)
class Made:
    """The figures of a file.

    :param rows: number of calls.
    :param total_cost: exact sum in US dollars, as text.
    :param csv_bytes: size before compression.
    :param days: the length of the window, which begins at :data:`START`.
    """

    rows: int
    total_cost: str
    csv_bytes: int
    days: int = DAYS


def make(path: Path, rows: int, days: int = DAYS, *, shuffled: bool = False) -> Made:
    """Write the file, unless it exists.

    :param path: the gzip file; its figures are written beside it, as JSON.
    :param rows: number of calls.
    :param days: days over which the calls are spread.
    :param shuffled: whether the calls are in no order; otherwise they are in the order of their start.
    """
    facts = path.with_name(path.name.removesuffix(".csv.gz") + ".json")
    if facts.exists():
        return Made(**json.loads(facts.read_text()))
    path.parent.mkdir(parents=True, exist_ok=True)
    dice, units, size = random.Random(rows), 0, 0
    with gzip.open(path, "wb", compresslevel=6) as file:
        header = (",".join(COLUMNS) + "\n").encode()
        size += file.write(header)
        for first in range(0, rows, _BLOCK):
            lines = []
            for number in range(first, min(first + _BLOCK, rows)):
                place = dice.randrange(rows) if shuffled else number
                line, cost = _row(dice, START + timedelta(seconds=days * 86400 * place // rows))
                lines.append(line)
                units += cost
            size += file.write("".join(lines).encode())
    made = Made(rows, f"{Decimal(units).scaleb(-8):f}", size, days)
    facts.write_text(json.dumps(asdict(made)))
    return made


def _row(dice: random.Random, started: datetime) -> tuple[str, int]:
    """Return one line, and its cost in units of 10^-8 US dollars."""
    result, code, reason = dice.choices(_OUTCOMES, (78, 12, 10))[0]
    duration = int(dice.lognormvariate(4.2, 1.1)) + 1 if code == 200 else 0
    billed = -(-duration // 6) * 6
    rate = dice.choice((98, 74, 112, 66, 150))
    subtotal = rate * billed * 10000 // 60
    ccrf, usf = subtotal * 13045 // 100000, subtotal * 582 // 10000 if dice.random() < 0.3 else 0
    inbound = dice.random() < 0.4
    cnam = 390000 if inbound else 0
    cost = subtotal + ccrf + usf + cnam
    own, other = f"1206555{dice.randrange(40):04d}", f"1{dice.randrange(2_000_000_000, 9_999_999_999)}"
    to, caller = (own, other) if inbound else (other, own)
    ended = started + timedelta(seconds=duration)
    ip = f"53.186.{dice.randrange(150, 154)}.52"
    amounts = ",".join(f"0.{amount:08d}" for amount in (usf, ccrf, cnam))
    identity = dice.getrandbits(128)
    cdr_id = f"{identity:032x}"
    cdr_id = f"{cdr_id[:8]}-{cdr_id[8:12]}-{cdr_id[12:16]}-{cdr_id[16:20]}-{cdr_id[20:]}"
    line = (
        f"{'Inbound' if inbound else 'Outbound'},{started:%Y-%m-%d %H:%M:%S}+00,{ended:%Y-%m-%d %H:%M:%S}+00,{to},"
        f"{dice.choice(_ALIASES)},+{caller},{_dollars(cost)},{dice.choice(_PLACES)},"
        f"{'UNITED STATES' if inbound else 'N/A'},{dice.choice(('', '0', '61')) if inbound else ''},{result},{code},"
        f"{reason},{duration},{billed},0.{rate * 100:06d},6,6,{_dollars(subtotal)},0.0000,{amounts},"
        f"{'' if inbound else dice.choice(_TAGS)},{ip}{'' if inbound else ':5060'},"
        f"{dice.getrandbits(128):032x}@{ip},{cdr_id},as{dice.getrandbits(32):08x},"
        f"{f'gK{dice.getrandbits(32):08x}' if code == 200 else ''}\n"
    )
    return line, cost


def _dollars(units: int) -> str:
    return f"{units // 10**8}.{units % 10**8:08d}"
