"""Recipes of the documentation on real databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.airflow.conftest import airflow_db, run_dag  # noqa: F401
from tests.airflow.recipes import parse_dags


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in place of /data/cdrs and of the bucket."""
    lake = tmp_path_factory.mktemp("lake") / "cdrs"
    lake.mkdir()
    return lake


@pytest.fixture(scope="session")
def recipes(airflow_db: None, lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # noqa: F811
    """The DAGs of the guides by ID."""
    return parse_dags(tmp_path_factory.mktemp("dags") / "recipes.py", data=lake, s3=lake)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A Postgres with an empty database. Yields its URL."""
    with services.postgres() as url:
        yield url
