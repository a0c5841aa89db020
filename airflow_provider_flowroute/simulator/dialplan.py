"""The account's own numbers, the destinations and the rates from which calls are generated.

Every number is unassigned or in a range reserved for fiction, so that no file of the simulator
contains the number of a real person.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple


class OwnNumber(NamedTuple):
    """A number of the account: its digits without ``+``, and its alias."""

    number: str
    alias: str


class Place(NamedTuple):
    """The destination or the origin of a call.

    :param iso: the country's ISO 3166 two-letter code.
    :param country: the country's name, in capitals as in Flowroute's files.
    :param destination_name: its name in the file.
    :param template: the number; ``#`` is a digit, ``*`` is an area code of North America.
    :param rates: the possible rates for a minute, in USD.
    :param increments: first and subsequent billing increment, in seconds.
    :param connect_fee: the fee for a connection, in USD.
    :param weight: how often it is called, relative to the others.
    """

    iso: str
    country: str
    destination_name: str
    template: str
    rates: tuple[str, ...]
    increments: tuple[int, int] = (6, 6)
    connect_fee: Decimal = Decimal("0.0000")
    weight: int = 1


AREA_CODES = ("206", "212", "253", "303", "312", "404", "415", "503", "512", "617", "702", "813", "972")
UNITED_STATES = "UNITED STATES"
TOLLFREE_NAME = "UNITED STATES - TOLL FREE"

OWN_NUMBERS = (
    OwnNumber("12063389999", "Office Line 2"),
    OwnNumber("12069928999", "Office Line 1"),
    OwnNumber("12065550121", "Office 221"),
    OwnNumber("12065550188", "Office 888"),
    OwnNumber("12065550140", "Sales, West"),
    OwnNumber("12065550141", 'Support "24/7", all hands'),
    OwnNumber("12065550150", "Büro München"),
    OwnNumber("12065550151", "東京オフィス"),
    OwnNumber("12065550160", ""),
    OwnNumber("18005550199", "Hotline"),
    OwnNumber("18885550142", "Orders, toll-free"),
)

CUSTOMER_IPS = ("53.186.152.52", "53.186.151.52", "203.0.113.17", "198.51.100.40")
X_TAGS = ("tenant-17", "tenant-42", "campaign:spring", "café")

INBOUND_RATE = Decimal("0.001500")
INBOUND_TOLLFREE_RATE = Decimal("0.013600")
CNAM_LOOKUP_FEE = Decimal("0.00390000")
CCRF_SHARE = Decimal("0.13045")
USF_SHARE = Decimal("0.0582")

DESTINATIONS = (
    Place("US", UNITED_STATES, UNITED_STATES, "1*55501##", ("0.009800", "0.007400", "0.011200"), weight=70),
    Place("US", UNITED_STATES, TOLLFREE_NAME, "18005550###", ("0.000000",), weight=8),
    Place("CA", "CANADA", "CANADA", "141655501##", ("0.006600", "0.008100"), weight=8),
    Place("GB", "UNITED KINGDOM", "UNITED KINGDOM", "442079460###", ("0.007300",), weight=4),
    Place("GB", "UNITED KINGDOM", "UNITED KINGDOM - MOBILE", "447700900###", ("0.032000",), weight=2),
    Place("DE", "GERMANY", "GERMANY", "493023125###", ("0.011500",), weight=3),
    Place("FR", "FRANCE", "FRANCE", "3319900####", ("0.008900",), weight=2),
    Place("MX", "MEXICO", "MEXICO", "525500####", ("0.012100",), (60, 60), weight=3),
    Place("AU", "AUSTRALIA", "AUSTRALIA", "61255501###", ("0.021000",), (60, 60), weight=1),
    Place("CU", "CUBA", "CUBA", "537000####", ("0.910000",), (60, 60), Decimal("0.0100"), weight=1),
)
CALLERS = tuple(place for place in DESTINATIONS if place.destination_name != TOLLFREE_NAME)

#: The failures of calls that are not answered: SIP code, reason phrase, relative weight.
FAILURES = (
    ("486", "Busy Here", 40),
    ("480", "Temporarily Unavailable", 25),
    ("404", "Not Found", 15),
    ("503", "Service Unavailable", 10),
    ("408", "Request Timeout", 5),
    ("603", "Decline", 5),
)


def is_tollfree(number: str) -> bool:
    """Return whether a number is toll-free, with or without ``+``."""
    return re.fullmatch(r"\+?1(800|833|844|855|866|877|888).{7}", number) is not None
