"""The export resource, from whichever shape the wire gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from airflow_provider_flowroute.cdr.filters import FILTERS
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, Window, parse_instant
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportNotCompletedError,
    CdrExportUnknownStatusError,
    FlowrouteUnexpectedResponseError,
    FlowrouteValueError,
)

FEES = ("call_subtotal", "connect_fees", "cnamlookup_fees", "usf_fees", "ccrf")


class ExportStatus(Enum):
    """Where an export stands. ``UNKNOWN`` is ours: a word Flowroute's documents do not have."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> ExportStatus:
        return cls.UNKNOWN


def _money(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise FlowrouteUnexpectedResponseError(f"not an amount: {value!r}")
    return amount


def _url(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise FlowrouteUnexpectedResponseError(f"{name} is not text but {type(value).__name__}")
    return value or None


def _instant(value: object, name: str) -> datetime | None:
    return None if value is None else parse_instant(value, name)


def check_export_id(value: object) -> str:
    """An export id as text, whatever a template or an XCom made of it.

    :raises FlowrouteValueError: if there is none: typically the task that should have returned it did not.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text in ("", "None"):
        raise FlowrouteValueError(
            f"export_id is {value!r}: expected the id of an export, as CreateCdrExportOperator returns it. "
            f"Did the task that should give it run, and return it?"
        )
    return text


@dataclass(frozen=True, kw_only=True)
class CdrExport:
    """One CDR export of the account.

    :param id: opaque text; Flowroute writes it as text in some places and as a number in others.
    :param status: see :class:`ExportStatus`.
    :param status_text: the status as Flowroute wrote it.
    :param download_url: a secret: whoever holds it can read the calls. Never shown, never stored.
    :param expires_at: until when the file can be downloaded.
    :param num_calls: how many calls the file holds.
    :param total_cost: US dollars.
    :param billed_minutes: minutes.
    :param fees: US dollars by Flowroute's names (``call_subtotal``, ``connect_fees``, ``cnamlookup_fees``,
        ``usf_fees``, ``ccrf``).
    :param filter_parameters: as echoed, the window included where Flowroute told it.
    """

    id: str
    status: ExportStatus
    status_text: str
    download_url: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)
    requested_at: datetime | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    num_calls: int | None = None
    total_cost: Decimal | None = None
    billed_minutes: Decimal | None = None
    fees: Mapping[str, Decimal | None] = field(default_factory=dict)
    filter_parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_resource(cls, resource: object) -> CdrExport:
        """Read a resource object: flat as JSON:API has it, or nested once more as the list endpoint does.

        :raises FlowrouteUnexpectedResponseError: naming what is missing or of another type.
        """
        if isinstance(resource, Mapping) and isinstance(resource.get("data"), Mapping):
            resource = resource["data"]
        if not isinstance(resource, Mapping) or not isinstance(resource.get("attributes"), Mapping):
            raise FlowrouteUnexpectedResponseError(
                "Flowroute's answer is not an export: it has no attributes."
            )
        export_id, attributes = resource.get("id"), resource["attributes"]
        if isinstance(export_id, bool) or not isinstance(export_id, str | int) or export_id == "":
            raise FlowrouteUnexpectedResponseError(
                f"Flowroute's answer has no usable export id: {export_id!r}."
            )
        try:
            return cls._from_attributes(str(export_id), attributes)
        except (FlowrouteUnexpectedResponseError, ValueError, TypeError, OverflowError) as e:
            raise FlowrouteUnexpectedResponseError(
                f"Export {export_id}, as Flowroute describes it: {e}"
            ) from None

    @classmethod
    def _from_attributes(cls, export_id: str, attributes: Mapping[str, Any]) -> CdrExport:
        num_calls = attributes.get("num_calls")
        # The reply to a create shows filters among the attributes, and leaves some out of filter_parameters.
        beside = {
            name: attributes[name] for name in (*FILTERS, WINDOW_START, WINDOW_END) if name in attributes
        }
        return cls(
            id=export_id,
            status=ExportStatus(attributes.get("status")),
            status_text=str(attributes.get("status")),
            download_url=_url(attributes.get("download_url"), "download_url"),
            callback_url=_url(attributes.get("callback_url"), "callback_url"),
            requested_at=_instant(attributes.get("requested_at"), "requested_at"),
            created_at=_instant(attributes.get("created_at"), "created_at"),
            expires_at=_instant(attributes.get("expires_at"), "expires_at"),
            num_calls=None if num_calls is None else int(num_calls),
            total_cost=_money(attributes.get("total_cost")),
            billed_minutes=_money(attributes.get("billed_minutes")),
            fees={name: _money(attributes.get(name)) for name in FEES},
            filter_parameters={**beside, **(attributes.get("filter_parameters") or {})},
        )

    @property
    def window(self) -> Window | None:
        """The window, where Flowroute told it and it can be one."""
        parameters = self.filter_parameters
        try:
            return Window(parameters[WINDOW_START], parameters[WINDOW_END])
        except (KeyError, FlowrouteValueError):
            return None

    @property
    def is_completed(self) -> bool:
        """Whether the file is there."""
        return self.status is ExportStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether Flowroute gave up: there will never be a file."""
        return self.status is ExportStatus.FAILED

    def is_usable(self, now: datetime) -> bool:
        """Whether there is, or may yet be, a file to fetch.

        :param now: the present, aware.
        """
        return not self.is_failed and (self.expires_at is None or now < self.expires_at)

    def raise_if_failed(self) -> None:
        """The one place that knows which statuses no waiting can mend.

        :raises CdrExportFailedError: Flowroute gave up.
        :raises CdrExportUnknownStatusError: a status this package does not know.
        """
        if self.is_failed:
            raise CdrExportFailedError(
                f"Flowroute ended export {self.id} ({self.window or 'window unknown'}) as failed. Make a new one: "
                f"clear the task that created it. If that fails too, ask Flowroute's support, naming the export's id."
            )
        if self.status is ExportStatus.UNKNOWN:
            raise CdrExportUnknownStatusError(
                f"Export {self.id} has the status {self.status_text!r}, which this version does not know (it knows "
                f"processing, completed, failed). Look at the export in Flowroute's portal, and upgrade the provider."
            )

    def check_completed(self) -> None:
        """Make sure that there is a file.

        :raises CdrExportNotCompletedError: still being built.
        :raises CdrExportFailedError: there will never be one; likewise for an unknown status.
        """
        self.raise_if_failed()
        if not self.is_completed:
            raise CdrExportNotCompletedError(
                f"Export {self.id} is still {self.status_text}: it has no file yet. Wait for it first, with a "
                f"CdrExportSensor or wait_for_completion=True."
            )

    def summary(self) -> dict[str, Any]:
        """What may be seen and stored of the export, as JSON: never the link.

        Amounts are text, so that they stay exact; times are ISO 8601, UTC.
        """
        window = self.window
        return {
            "id": self.id,
            "status": self.status_text,
            "window": {"start": window.start.isoformat(), "end": window.end.isoformat()} if window else None,
            "num_calls": self.num_calls,
            "total_cost": _text(self.total_cost),
            "billed_minutes": _text(self.billed_minutes),
            "fees": {name: _text(amount) for name, amount in self.fees.items()},
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def pluralize(number: int | None, noun: str) -> str:
    """A number of things, in words: ``1 call``, ``2 calls``.

    :param number: how many; None where Flowroute does not tell.
    :param noun: one of them.
    """
    return f"{'an unknown number of' if number is None else number} {noun}{'' if number == 1 else 's'}"
