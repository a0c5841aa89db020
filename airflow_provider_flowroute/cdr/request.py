"""What an export is asked for with, and which exports answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.filters import fingerprint, same_request


@dataclass(frozen=True)
class CdrExportRequest:
    """One request for an export.

    :param filter_parameters: window and filters, from :func:`.filters.request_parameters`.
    :param callback_url: where Flowroute POSTs a note when the export changes.
    """

    filter_parameters: Mapping[str, Any]
    callback_url: str | None = None

    def asks_for(self, export: CdrExport) -> bool:
        """Whether an export is what such a request makes: the same calls, announced to the same address."""
        return self.callback_url == export.callback_url and same_request(
            self.filter_parameters, export.filter_parameters
        )

    @property
    def fingerprint(self) -> str:
        """Short text that tells this request from others."""
        return fingerprint({**self.filter_parameters, "callback_url": self.callback_url})
