"""Landed files that several tests read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from .lake import land_days


@dataclass(frozen=True)
class Lake:
    """A folder of day files, and the rows in them.

    :param path: the folder.
    :param rows: as in the CSV of Flowroute.
    """

    path: Path
    rows: list[dict[str, str]]


@pytest.fixture(scope="session")
def march(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """March 2026 in UTC days. The clocks of Los Angeles change on its 8th."""
    path = tmp_path_factory.mktemp("march")
    return Lake(path, land_days(path, date(2026, 3, 1), date(2026, 4, 1), calls_per_day=40))
