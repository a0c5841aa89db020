"""The faults that the account can simulate, and the queue of pending faults."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, NamedTuple

API = ("create", "status", "list")
CREATE = ("create",)
DOWNLOAD = ("download",)
LIST = ("list",)
CALLBACK = ("callback",)
EVERYWHERE = (*API, *DOWNLOAD)


class Option(NamedTuple):
    """An option of a fault: its default value, a test of other values, and its valid values in words."""

    default: Any
    is_valid: Callable[[Any], bool]
    description: str


class Kind(NamedTuple):
    """A kind of fault: the requests that it can affect, those that it affects by default, and its options."""

    can_be_on: tuple[str, ...]
    default_on: tuple[str, ...]
    options: Mapping[str, Option] = MappingProxyType({})


@dataclass
class Fault:
    """A pending fault. It affects ``times`` more requests; None for all."""

    name: str
    on: tuple[str, ...]
    times: int | None
    options: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the fault as the control endpoint shows it."""
        return {"fault": self.name, "on": list(self.on), "times": self.times, **self.options}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_money(value: Any) -> bool:
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _text(default: str) -> Option:
    return Option(default, lambda value: isinstance(value, str), "a string")


_FRACTION = Option(0.5, lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1")
_SECONDS = Option(
    1.0, lambda value: _is_number(value) and 0 <= value < 86400, "a number of seconds below 86400"
)
_RETRY_AFTER = Option(None, lambda value: _is_number(value) and value >= 0, "a number of seconds, or null")
_BYTES = Option(None, lambda value: _is_integer(value) and value >= 0, "a number of bytes, or null")
_COUNT = Option(1, lambda value: _is_integer(value) and value > 0, "a whole number of 1 or more")
_STATUS = Option(
    500, lambda value: _is_integer(value) and 500 <= value <= 599, "an HTTP status from 500 to 599"
)
_AFTER = Option(False, lambda value: isinstance(value, bool), "true or false")
_MAYBE_FRACTION = Option(None, _FRACTION.is_valid, f"{_FRACTION.description}, or null")
_CALLS = Option(1, _is_integer, "a whole number")
_MONEY = Option("0.010000", _is_money, 'an amount in USD such as "0.010000"')

KINDS: dict[str, Kind] = {
    "lost_reply": Kind(API, CREATE),
    "dropped_connection": Kind(EVERYWHERE, API),
    "slow_reply": Kind(EVERYWHERE, API, {"seconds": _SECONDS}),
    "held_request": Kind(EVERYWHERE, API, {"after": _AFTER}),
    "rate_limit": Kind(EVERYWHERE, API, {"retry_after": _RETRY_AFTER}),
    "server_error": Kind(
        EVERYWHERE, API, {"status": _STATUS, "detail": _text("The server failed."), "after": _AFTER}
    ),
    "unauthorized": Kind(API, API, {"detail": _text("The access key has expired.")}),
    "forbidden": Kind(EVERYWHERE, API, {"detail": _text("This account may not export call records.")}),
    "html_reply": Kind(API, API),
    "wrong_shape": Kind(API, API),
    "unsorted_list": Kind(LIST, LIST),
    "incomplete_list": Kind(LIST, LIST, {"count": _COUNT}),
    "failed_export": Kind(CREATE, CREATE),
    "unknown_status": Kind(CREATE, CREATE, {"status": _text("archived")}),
    "wrong_num_calls": Kind(CREATE, CREATE, {"delta": _CALLS}),
    "wrong_total_cost": Kind(CREATE, CREATE, {"delta": _MONEY}),
    "cut_download": Kind(DOWNLOAD, DOWNLOAD, {"after_bytes": _BYTES, "fraction": _FRACTION}),
    "truncated_gzip": Kind(DOWNLOAD, DOWNLOAD, {"fraction": _FRACTION}),
    "corrupt_gzip": Kind(DOWNLOAD, DOWNLOAD),
    "expired_link": Kind(DOWNLOAD, DOWNLOAD),
    "no_content_length": Kind(DOWNLOAD, DOWNLOAD, {"fraction": _MAYBE_FRACTION}),
    "retried_callback": Kind(CALLBACK, CALLBACK),
    "duplicate_callback": Kind(CALLBACK, CALLBACK),
    "garbled_callback": Kind(CALLBACK, CALLBACK),
}

#: Faults that affect the response to a request.
REQUEST_FAULTS = tuple(name for name, kind in KINDS.items() if "status" in kind.can_be_on)
#: Faults that affect the content of a download.
FILE_FAULTS = tuple(
    name for name, kind in KINDS.items() if kind.can_be_on == DOWNLOAD and name != "expired_link"
)


class FaultQueue:
    """The pending faults, in the order in which they were added. Safe to use from any thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, name: str, /, *, on: str | None = None, times: int | None = 1, **options: Any) -> None:
        """Add a fault, as :meth:`FlowrouteSimulator.add_fault` describes."""
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"There is no fault {name!r}.\nKnown faults: {', '.join(sorted(KINDS))}.")
        if on is not None and on not in kind.can_be_on:
            raise ValueError(
                f"The fault {name} cannot be on {on!r}.\nIt can be on: {', '.join(kind.can_be_on)}."
            )
        if times is not None and not (_is_integer(times) and times > 0):
            raise ValueError(
                f"The fault {name} has an invalid times: {times!r}.\nUse a whole number of 1 or more, or null."
            )
        for option, value in options.items():
            setting = kind.options.get(option)
            if setting is None:
                known = ", ".join(kind.options) or "none"
                raise ValueError(f"The fault {name} has no option {option!r}.\nIts options: {known}.")
            if value is not setting.default and not setting.is_valid(value):
                raise ValueError(
                    f"The fault {name} has an invalid {option}: {value!r}.\nUse {setting.description}."
                )
        settings = {option: setting.default for option, setting in kind.options.items()} | options
        with self._lock:
            self._faults.append(Fault(name, (on,) if on else kind.default_on, times, settings))

    def take(self, on: str, names: Collection[str]) -> Fault | None:
        """Take the first fault of some kinds that affects a request."""
        with self._lock:
            for fault in self._faults:
                if fault.name in names and on in fault.on:
                    if fault.times is not None:
                        fault.times -= 1
                        if not fault.times:
                            self._faults.remove(fault)
                    return fault
        return None

    def pending(self) -> list[dict[str, Any]]:
        """Return the pending faults as the control endpoint shows them."""
        with self._lock:
            return [fault.as_json() for fault in self._faults]

    def clear(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._faults.clear()
