"""Load an Iceberg catalog from an Airflow connection, or from pyiceberg's configuration."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.landing import check_format

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


def check_table_name(table: object) -> None:
    """Check the name of a table as text.

    :param table: ``namespace.name``.
    :raises FlowrouteValueError: it names no table.
    """
    parts = str(table).split(".")
    if len(parts) < 2 or not all(parts) or "None" in parts:
        raise FlowrouteValueError(
            f"table is {str(table)!r}, which names no table.\n"
            f"Give a namespace and a name, such as 'telephony.cdrs'."
        )


def check_one_catalog(catalog: str | None, iceberg_conn_id: str | None) -> None:
    """Check that only one of two arguments names a catalog.

    :param catalog: the name of a catalog in pyiceberg's configuration.
    :param iceberg_conn_id: the ID of an Airflow connection.
    :raises FlowrouteValueError: both are set.
    """
    if catalog is not None and iceberg_conn_id is not None:
        raise FlowrouteValueError(
            "catalog and iceberg_conn_id are both set.\n"
            "Each of them names a catalog, and a table is in one.\nSet one of them."
        )


def load_catalog(catalog: str | None, iceberg_conn_id: str | None) -> Catalog:
    """Load a catalog.

    :param catalog: the name of a catalog in pyiceberg's configuration; None for the default.
    :param iceberg_conn_id: the ID of an Airflow connection of type ``iceberg``, instead of ``catalog``.
    :raises FlowrouteValueError: a package is not installed.
    :raises CdrExportLandingError: the catalog does not answer or refuses.
    """
    check_format("parquet")
    if not importlib.util.find_spec("pyiceberg"):
        raise FlowrouteValueError(
            "An Iceberg table needs pyiceberg, which this worker does not have.\n"
            "Install the extra where tasks run: pip install 'airflow-provider-flowroute[iceberg]'."
        )
    import pyiceberg.catalog

    from airflow_provider_flowroute.landing.iceberg import catalog_errors

    if iceberg_conn_id is None:
        with catalog_errors(f"pyiceberg cannot load the catalog {catalog or 'default'!r}."):
            return pyiceberg.catalog.load_catalog(catalog)
    if not importlib.util.find_spec("airflow.providers.apache.iceberg"):
        raise FlowrouteValueError(
            "iceberg_conn_id is set, but this worker has no provider for it.\n"
            "Install apache-airflow-providers-apache-iceberg, or set catalog instead."
        )
    from airflow.providers.apache.iceberg.hooks.iceberg import IcebergHook

    with catalog_errors(f"The catalog of connection {iceberg_conn_id!r} cannot be loaded."):
        return IcebergHook(iceberg_conn_id).get_conn()
