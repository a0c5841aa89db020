"""Assets with the URI scheme ``flowroute``, such as ``flowroute://api.flowroute.com/cdrs/exports``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Asset


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Validate and normalize the URI of an asset.

    :param uri: ``flowroute://HOST/PATH``. HOST is the API host of the Flowroute account.
    :return: the URI with the host in lower case.
    :raises ValueError: if the URI has no host or no path.
    """
    if not uri.netloc or not uri.path.strip("/"):
        raise ValueError(
            f"The asset URI {uri.geturl()!r} is incomplete.\n"
            f"A flowroute URI has a host and a path.\n"
            f"Use a URI such as flowroute://api.flowroute.com/cdrs/exports."
        )
    return uri._replace(netloc=uri.netloc.lower())


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Convert an asset to the OpenLineage dataset that a landing reports as its input.

    :param asset: an asset with a ``flowroute`` URI.
    :param lineage_context: not used.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"flowroute://{uri.netloc}", name=uri.path.strip("/"))
