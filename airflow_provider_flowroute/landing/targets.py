"""The files that a landing replaces: what they hold, and which of them a new export changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.landing.arrow import read_parquet
from airflow_provider_flowroute.landing.difference import Difference, compare
from airflow_provider_flowroute.landing.footer import Footer, read_footer
from airflow_provider_flowroute.landing.partitions import days_of
from airflow_provider_flowroute.landing.publish import in_parallel, local_copy, path_of
from airflow_provider_flowroute.landing.reconciliation import Totals

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


@dataclass
class Target:
    """A file that a landing writes or replaces.

    :param path: the file.
    :param window: the window of its rows.
    :param footer: of the file that is there; None if there is none, or one of another program.
    """

    path: ObjectStoragePath
    window: Window | None
    footer: Footer | None = None

    @property
    def has_window(self) -> bool:
        """Whether the file that is there has the window of the new one."""
        return self.footer is not None and self.footer.window == self.window

    @property
    def is_comparable(self) -> bool:
        """Whether the totals of the file that is there can replace a download."""
        return self.footer is not None and self.has_window and self.footer.is_comparable


@dataclass(frozen=True)
class Staged:
    """A staged file and its target.

    :param target: the file to replace.
    :param path: the local file.
    :param totals: the totals of the local file.
    """

    target: Target
    path: Path
    totals: Totals


def targets_of(export: CdrExport, path: ObjectStoragePath, timezone: str | None) -> list[Target]:
    """Return the files that a landing writes.

    :param export: the export to land.
    :param path: the file, or the pattern of day files.
    :param timezone: the time zone of day files; None for one file.
    :raises FlowrouteValueError: the export does not hold complete days of the time zone.
    """
    if timezone is None:
        return [Target(path, export.window)]
    return [Target(path_of(path, day), window) for day, window in days_of(export, timezone).items()]


def existing(targets: Sequence[Target]) -> list[ObjectStoragePath]:
    """Return the targets whose file exists."""
    path = targets[0].path
    there = in_parallel(path, lambda target: target.path.exists(), targets)
    return [target.path for target, exists in zip(targets, there, strict=True) if exists]


def read_footers(targets: Sequence[Target]) -> None:
    """Read the footers of the files that are there.

    :raises CdrExportLandingError: a file cannot be read.
    """
    footers = in_parallel(targets[0].path, lambda target: read_footer(target.path), targets)
    for target, footer in zip(targets, footers, strict=True):
        target.footer = footer


def landed_totals(targets: Sequence[Target]) -> Totals | None:
    """Return the totals of all files that are there; None if one of them is missing or cannot be compared."""
    totals = [target.footer.totals for target in targets if target.footer and target.is_comparable]
    return reduce(add, totals) if len(totals) == len(targets) else None


def select_changed(files: Sequence[Staged]) -> tuple[Difference | None, list[Staged]]:
    """Select the files to publish: those whose rows differ, and those that replace a file without usable totals.

    :param files: the staged files.
    :return: the difference from the landed files of the same windows, None if there are none; and the files.
    :raises CdrExportLandingError: a landed file cannot be read.
    """
    total: Difference | None = None
    selected = []
    for file in files:
        difference = _difference_of(file)
        if difference is not None:
            total = difference + (total or Difference())
        if difference or not file.target.is_comparable:
            selected.append(file)
    return total, selected


def _difference_of(file: Staged) -> Difference | None:
    footer = file.target.footer
    if footer is None or not file.target.has_window:
        return None
    with local_copy(file.target.path) as landed:
        try:
            return compare(
                partial(read_parquet, landed), partial(read_parquet, file.path), footer.totals, file.totals
            )
        except (pa.ArrowException, OSError) as e:
            log.warning("%s cannot be compared, and is replaced. %s", file.target.path, e)
            file.target.footer = None
            return None
