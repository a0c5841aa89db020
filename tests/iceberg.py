"""Iceberg tables for tests: a SQL catalog in SQLite, in a directory of its own."""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

#: Airflow 2.11 has SQLAlchemy 1.4.
needs_sql_catalog = pytest.mark.skipif(
    version("sqlalchemy").startswith("1."), reason="pyiceberg's SQL catalog needs SQLAlchemy 2"
)


def catalog_properties(directory: Path, warehouse: str | None = None, **properties: str) -> dict[str, str]:
    """Return the properties of a catalog.

    :param directory: a directory for its database, and its tables.
    :param warehouse: where its tables are, if not there.
    """
    place = warehouse or f"file://{directory}/warehouse"
    return {"type": "sql", "uri": f"sqlite:///{directory}/catalog.db", "warehouse": place, **properties}


def a_catalog(
    directory: Path, warehouse: str | None = None, name: str = "lake", **properties: str
) -> Catalog:
    """Return a catalog; see :func:`catalog_properties`.

    :param name: the ID of its connection. A SQL catalog has only the tables that were created under its name.
    """
    from pyiceberg.catalog import load_catalog

    return load_catalog(name, **catalog_properties(directory, warehouse, **properties))


def connection_to_catalog(directory: Path, warehouse: str | None = None, **properties: str) -> str:
    """Return the Airflow connection to that catalog, as JSON."""
    extra = catalog_properties(directory, warehouse, **properties)
    return json.dumps({"conn_type": "iceberg", "extra": extra})


def rows_in(table: Any, **options: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, by ``cdr_id``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows: list[dict[str, Any]] = table.scan(**options).to_arrow().to_pylist()
    return sorted(rows, key=lambda row: row["cdr_id"])


def data_files(directory: Path) -> set[str]:
    """Return the names of all Parquet files below a directory."""
    return {path.name for path in directory.rglob("*.parquet")}
