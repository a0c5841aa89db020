"""The export resource: parse the structures that Flowroute returns, and know what a status means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from airflow_provider_flowroute.cdr.columns import FEE_COLUMNS
from airflow_provider_flowroute.cdr.filters import FILTERS
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, Window, parse_instant
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportNotCompletedError,
    CdrExportUnknownStatusError,
    FlowrouteUnexpectedResponseError,
    FlowrouteValueError,
)


class ExportStatus(Enum):
    """Status of an export. ``UNKNOWN`` stands for a status that Flowroute's documents do not have."""

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
        raise FlowrouteUnexpectedResponseError(f"{value!r} is not an amount.")
    return amount


def _url(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise FlowrouteUnexpectedResponseError(f"{name} is not text, but {type(value).__name__}.")
    return value or None


def _instant(value: object, name: str) -> datetime | None:
    return None if value is None else parse_instant(value, name)


def check_export_id(value: object) -> str:
    """Return an export ID as text, from a template or an XCom.

    :param value: the ID.
    :raises FlowrouteValueError: there is no ID, usually because the task that returns it did not run.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text in ("", "None"):
        raise FlowrouteValueError(
            f"export_id is not the ID of an export.\n"
            f"It is {value!r}; CreateCdrExportOperator returns an ID.\n"
            f"Check that the task that creates the export ran, and returned its ID."
        )
    return text


@dataclass(frozen=True, kw_only=True)
class CdrExport:
    """One CDR export of the account.

    :param id: opaque text. Flowroute returns it as text or as a number.
    :param status: see :class:`ExportStatus`.
    :param status_text: the status as Flowroute returned it.
    :param download_url: link to the file. It is a secret, because anyone who has it can read the calls. It is
        never shown and never stored.
    :param self_link: URL of the export in the API, as Flowroute returned it (``links.self``). It is never followed,
        because Flowroute's links can name an internal http host.
    :param callback_url: URL to which Flowroute POSTs callbacks.
    :param requested_at: when the export was requested.
    :param created_at: when the export was created.
    :param expires_at: until when the file can be downloaded.
    :param num_calls: number of calls in the file.
    :param total_cost: US dollars.
    :param billed_minutes: minutes.
    :param fees: US dollars by Flowroute's names (``call_subtotal``, ``connect_fees``, ``cnamlookup_fees``,
        ``usf_fees``, ``ccrf``).
    :param filter_parameters: as Flowroute returned them, including the window if Flowroute returned it.
    """

    id: str
    status: ExportStatus
    status_text: str
    download_url: str | None = field(default=None, repr=False)
    self_link: str | None = field(default=None, repr=False)
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
        """Parse a resource object: flat as in JSON:API, or nested as in the list endpoint.

        :param resource: the decoded JSON.
        :raises FlowrouteUnexpectedResponseError: a field is missing or has another type. The message names it.
        """
        if isinstance(resource, Mapping) and isinstance(resource.get("data"), Mapping):
            resource = resource["data"]
        if not isinstance(resource, Mapping) or not isinstance(resource.get("attributes"), Mapping):
            raise FlowrouteUnexpectedResponseError(
                "Flowroute's answer is not an export: it has no attributes.\n"
                "Check that the connection's host is Flowroute's API, and upgrade the provider."
            )
        export_id, attributes = resource.get("id"), resource["attributes"]
        if isinstance(export_id, bool) or not isinstance(export_id, str | int) or export_id == "":
            raise FlowrouteUnexpectedResponseError(
                f"Flowroute's answer has no usable export ID: {export_id!r}.\n"
                f"Check that the connection's host is Flowroute's API, and upgrade the provider."
            )
        links = resource.get("links")
        self_link = links.get("self") if isinstance(links, Mapping) else None
        try:
            return cls._from_attributes(
                str(export_id), attributes, self_link if isinstance(self_link, str) else None
            )
        except (FlowrouteUnexpectedResponseError, ValueError, TypeError, OverflowError) as e:
            raise FlowrouteUnexpectedResponseError(
                f"Flowroute's description of export {export_id} is invalid.\n{e}\nUpgrade the provider."
            ) from None

    @classmethod
    def _from_attributes(
        cls, export_id: str, attributes: Mapping[str, Any], self_link: str | None
    ) -> CdrExport:
        num_calls = attributes.get("num_calls")
        # The response to a create has filters among the attributes, and some of them only there.
        top_level = {
            name: attributes[name] for name in (*FILTERS, WINDOW_START, WINDOW_END) if name in attributes
        }
        return cls(
            id=export_id,
            status=ExportStatus(attributes.get("status")),
            status_text=str(attributes.get("status")),
            download_url=_url(attributes.get("download_url"), "download_url"),
            self_link=self_link,
            callback_url=_url(attributes.get("callback_url"), "callback_url"),
            requested_at=_instant(attributes.get("requested_at"), "requested_at"),
            created_at=_instant(attributes.get("created_at"), "created_at"),
            expires_at=_instant(attributes.get("expires_at"), "expires_at"),
            num_calls=None if num_calls is None else int(num_calls),
            total_cost=_money(attributes.get("total_cost")),
            billed_minutes=_money(attributes.get("billed_minutes")),
            fees={name: _money(attributes.get(name)) for name in FEE_COLUMNS},
            filter_parameters={**top_level, **(attributes.get("filter_parameters") or {})},
        )

    @property
    def window(self) -> Window | None:
        """The window, or None if Flowroute returned none or an invalid one."""
        parameters = self.filter_parameters
        try:
            return Window(parameters[WINDOW_START], parameters[WINDOW_END])
        except (KeyError, FlowrouteValueError):
            return None

    @property
    def is_completed(self) -> bool:
        """Whether the export has a file."""
        return self.status is ExportStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether the export failed and will never have a file."""
        return self.status is ExportStatus.FAILED

    def is_usable(self, now: datetime) -> bool:
        """Return whether the export has, or can still get, a file to download.

        :param now: the current time, with a time zone.
        """
        return not self.is_failed and (self.expires_at is None or now < self.expires_at)

    def raise_if_failed(self) -> None:
        """Raise an error for a status that never becomes completed. No other code decides this.

        :raises CdrExportFailedError: the export failed.
        :raises CdrExportUnknownStatusError: this package does not know the status.
        """
        if self.is_failed:
            raise CdrExportFailedError(
                f"Export {self.id} failed at Flowroute.\n"
                f"Its window is {self.window or 'unknown'}.\n"
                f"Create a new export: clear the task that created this one. If it fails again, contact Flowroute "
                f"support with the export's ID."
            )
        if self.status is ExportStatus.UNKNOWN:
            raise CdrExportUnknownStatusError(
                f"Export {self.id} has the unknown status {self.status_text!r}.\n"
                f"This version knows processing, completed and failed.\n"
                f"Check the export in Flowroute's portal, and upgrade the provider."
            )

    def check_completed(self) -> None:
        """Raise an error if the export has no file.

        :raises CdrExportNotCompletedError: the export is in progress.
        :raises CdrExportFailedError: the export failed.
        :raises CdrExportUnknownStatusError: this package does not know the status.
        """
        self.raise_if_failed()
        if not self.is_completed:
            raise CdrExportNotCompletedError(
                f"Export {self.id} has no file yet.\n"
                f"Its status is {self.status_text}.\n"
                f"Wait until it is completed, with a CdrExportSensor or wait_for_completion=True."
            )

    def summary(self) -> dict[str, Any]:
        """Return the export as JSON that may be shown and stored. It never contains the link.

        Amounts are text, so that they stay exact. Times are ISO 8601 in UTC.
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
    """Return a number with its noun: ``1 call``, ``2 calls``.

    :param number: the number; None if Flowroute does not return it.
    :param noun: the singular.
    """
    return f"{'an unknown number of' if number is None else number} {noun}{'' if number == 1 else 's'}"
