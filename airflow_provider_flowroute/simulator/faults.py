"""The ways the account can misbehave, on request: which there are, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

API = ("create", "status", "list")
CREATE = ("create",)
DOWNLOAD = ("download",)
EVERYWHERE = (*API, *DOWNLOAD)


@dataclass(frozen=True)
class Option:
    """A setting of a fault.

    :param default: its value when none is given.
    :param fits: tells whether a value will do.
    :param what: what will do, in words.
    """

    default: Any
    fits: Callable[[Any], bool]
    what: str


@dataclass(frozen=True)
class Kind:
    """A way to misbehave.

    :param can_be_on: the requests it can befall.
    :param default_on: those it befalls when nothing is said.
    :param options: its settings by name.
    """

    can_be_on: tuple[str, ...]
    default_on: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass
class Fault:
    """A misbehaviour that was asked for.

    :param name: its kind.
    :param on: the requests it befalls.
    :param times: how many requests it still befalls; None for every one.
    :param options: its settings, all of them.
    """

    name: str
    on: tuple[str, ...]
    times: int | None
    options: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Give what the control endpoint shows."""
        return {"fault": self.name, "on": list(self.on), "times": self.times, **self.options}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_money(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _text(default: str | None) -> Option:
    return Option(default, lambda value: isinstance(value, str), "a text")


_FRACTION = Option(0.5, lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1")
_MAYBE_FRACTION = Option(
    None, lambda value: value is None or _FRACTION.fits(value), "a number from 0 to below 1, or null"
)
_BYTES = Option(
    None, lambda value: value is None or (_is_whole(value) and value >= 0), "a number of bytes, or null"
)
_SECONDS = Option(
    1.0, lambda value: _is_number(value) and 0 <= value < 86400, "a number of seconds below 86400"
)
_RETRY_AFTER = Option(
    None, lambda value: value is None or (_is_number(value) and value >= 0), "a number of seconds, or null"
)
_STATUS = Option(
    500, lambda value: _is_whole(value) and 500 <= value <= 599, "an HTTP status from 500 to 599"
)
_AFTER = Option(False, lambda value: isinstance(value, bool), "true or false")

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
    "failed_export": Kind(CREATE, CREATE),
    "unknown_status": Kind(CREATE, CREATE, {"status": _text("archived")}),
    "wrong_num_calls": Kind(CREATE, CREATE, {"delta": Option(1, _is_whole, "a whole number")}),
    "wrong_total_cost": Kind(
        CREATE, CREATE, {"delta": Option("0.010000", _is_money, 'an amount in USD such as "0.010000"')}
    ),
    "cut_download": Kind(DOWNLOAD, DOWNLOAD, {"after_bytes": _BYTES, "fraction": _FRACTION}),
    "truncated_gzip": Kind(DOWNLOAD, DOWNLOAD, {"fraction": _FRACTION}),
    "corrupt_gzip": Kind(DOWNLOAD, DOWNLOAD),
    "expired_link": Kind(DOWNLOAD, DOWNLOAD),
    "no_content_length": Kind(DOWNLOAD, DOWNLOAD, {"fraction": _MAYBE_FRACTION}),
}

#: Those that befall a request as a whole.
REQUEST_FAULTS = (
    "lost_reply",
    "dropped_connection",
    "slow_reply",
    "held_request",
    "rate_limit",
    "server_error",
    "unauthorized",
    "forbidden",
    "html_reply",
    "wrong_shape",
)
#: Those that mark an export for life; one request to create can meet several of them.
EXPORT_FAULTS = ("failed_export", "unknown_status", "wrong_num_calls", "wrong_total_cost")
#: Those that befall the sending of a file.
FILE_FAULTS = ("cut_download", "truncated_gzip", "corrupt_gzip", "no_content_length")


class FaultQueue:
    """The faults still to come, in the order they were asked for; safe to use from any thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, name: str, /, *, on: str | None = None, times: int | None = 1, **options: Any) -> Fault:
        """Ask for a fault.

        :param name: its kind, one of :data:`KINDS`.
        :param on: the request it is to befall; None for those it usually does.
        :param times: how many requests it befalls; None for every one.
        :param options: its settings.
        """
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"There is no fault {name!r}. Known faults: {', '.join(sorted(KINDS))}.")
        if on is not None and on not in kind.can_be_on:
            raise ValueError(
                f"The fault {name} cannot be on {on!r}. It can be on: {', '.join(kind.can_be_on)}."
            )
        if times is not None and not (_is_whole(times) and times > 0):
            raise ValueError(
                f"The fault {name} takes times as a whole number of 1 or more, or null; not {times!r}."
            )
        for option, value in options.items():
            self._check(name, kind, option, value)
        settings = {option: setting.default for option, setting in kind.options.items()} | options
        fault = Fault(name, (on,) if on else kind.default_on, times, settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    @staticmethod
    def _check(name: str, kind: Kind, option: str, value: Any) -> None:
        setting = kind.options.get(option)
        if setting is None:
            known = ", ".join(kind.options) or "none"
            raise ValueError(f"The fault {name} has no option {option!r}. Its options: {known}.")
        if not setting.fits(value):
            raise ValueError(f"The fault {name} takes {option} as {setting.what}; not {value!r}.")

    def take(self, on: str, names: Iterable[str]) -> Fault | None:
        """Give the first fault that befalls a request, and count it down.

        :param on: which of the service's requests it is.
        :param names: the kinds looked for.
        """
        names = tuple(names)
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
        """Give the faults still to come, as the control endpoint shows them."""
        with self._lock:
            return [fault.as_json() for fault in self._faults]

    def clear(self) -> None:
        """Drop every fault."""
        with self._lock:
            self._faults.clear()
