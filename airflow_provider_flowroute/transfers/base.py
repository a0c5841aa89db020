"""Shared behavior of the operators that land an export: options, checks of the file, and what an error says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset

from airflow_provider_flowroute.cdr.export import pluralize
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    CdrExportLandingError,
    CdrExportMismatchError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.utils.metrics import Metric, count
from airflow_provider_flowroute.utils.mixins import FlowrouteHookMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.difference import Difference
    from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

ON_MISMATCH = ("fail", "warn")
#: Land only what differs from the landed window.
IF_CHANGED = "if_changed"


class CdrExportTransferMixin(FlowrouteHookMixin):
    """Give a landing operator its checks, and the context of its errors."""

    log: Any
    outlets: Any
    on_mismatch: str
    overwrite: bool | str

    def _check_options(self) -> None:
        """Check the options that have no template.

        :raises FlowrouteValueError: an option has an unknown value.
        """
        if self.on_mismatch not in ON_MISMATCH:
            raise FlowrouteValueError(f"on_mismatch is {self.on_mismatch!r}.\nUse 'fail' or 'warn'.")
        if not isinstance(self.overwrite, bool) and self.overwrite != IF_CHANGED:
            raise FlowrouteValueError(f"overwrite is {self.overwrite!r}.\nUse True, False or '{IF_CHANGED}'.")

    @contextmanager
    def _add_error_context(
        self, export: CdrExport, target: str, state: Callable[[], str], hint: str
    ) -> Iterator[None]:
        """Add the export, the target and its state to an error.

        :param export: the export to land.
        :param target: the file or table.
        :param state: returns a sentence about what the target holds now.
        :param hint: what to check if the target cannot be written.
        """
        try:
            yield
        except (CdrExportIntegrityError, CdrExportFormatError) as e:
            raise type(e)(f"Export {export.id} was not landed.\n{e}\n{target} is unchanged.") from None
        except (CdrExportLandingError, OSError) as e:
            raise CdrExportLandingError(
                f"Export {export.id} cannot be written to {target}.\n{e}\n{state()}\n{hint}",
                transient=getattr(e, "transient", True),
            ) from None

    def _enforce_reconciliation(self, export: CdrExport, result: Reconciliation) -> None:
        """Log the checks, and stop a file that does not match.

        :raises CdrExportMismatchError: a check failed and ``on_mismatch`` is ``fail``, or rows belong to no day file.
        """
        for check in result.checks:
            level = logging.WARNING if check.passed is False else logging.INFO
            self.log.log(level, "Check of export %s: %s", export.id, check)
        if result.has_unchecked:
            self.log.warning("Flowroute omitted figures of export %s: some checks were skipped.", export.id)
        if not result.mismatches:
            return
        count(Metric.RECONCILIATION_FAILURES, self.metric_tags)
        failed = "\n".join(map(str, result.mismatches))
        if self.on_mismatch == "fail":
            raise CdrExportMismatchError(f"The file does not match Flowroute's figures.\n{failed}")
        if result.unassigned:
            raise CdrExportMismatchError(
                f"{pluralize(result.unassigned, 'row')} of the file did not start in the window.\n{failed}\n"
                f"on_mismatch='warn' cannot land them: they belong to no day of the window."
            )
        self.log.warning(
            "Publishing export %s despite failed checks, because on_mismatch is 'warn'.", export.id
        )

    def _is_unchanged(self, export: CdrExport, landed: Totals | None, target: str) -> bool:
        """Return whether the landed window already has the figures of a new export, and log the result.

        :param export: the new export.
        :param landed: the totals of the landed window; None if they are not known.
        :param target: the file or table.
        """
        from airflow_provider_flowroute.landing.reconciliation import differing_figures

        if landed is None:
            self.log.info("%s does not have the complete window of export %s yet.", target, export.id)
            return False
        differing = differing_figures(export, landed)
        if not differing:
            self.log.info(
                "%s already has the figures of export %s. Nothing is downloaded.", target, export.id
            )
            return True
        shown = ", ".join(f"{name} {old}, now {new}" for name, (old, new) in differing.items())
        self.log.info("%s differs from export %s: %s.", target, export.id, shown)
        return False

    def _log_difference(self, export: CdrExport, difference: Difference | None) -> None:
        """Log in one line what a new export changed."""
        if difference is not None:
            self.log.info("Export %s changed the landed calls: %s.", export.id, difference)

    def _add_asset_event_extra(self, context: Context, landed: dict[str, Any]) -> None:
        """Add the figures to the events of the assets in ``outlets``."""
        events = context.get("outlet_events")
        if events is None:
            return
        for asset in self.outlets:
            if isinstance(asset, Asset):
                events[asset].extra.update(landed)
