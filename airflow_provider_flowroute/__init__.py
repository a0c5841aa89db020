"""Apache Airflow provider for Flowroute.

Airflow imports this module in every process, before any DAG, to read the provider info. The module therefore
imports neither Airflow nor requests.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def _field(label: str, kind: str, description: str) -> dict[str, Any]:
    # No defaults, because Airflow 3.3 writes them into the connection's extra when the form is saved.
    return {"label": label, "schema": {"type": [kind, "null"]}, "description": description}


def _secret_field(label: str, description: str) -> dict[str, Any]:
    field = _field(label, "string", description)
    field["schema"]["format"] = "password"
    return field


#: The extra fields of a connection, as its form shows them. The hook reads the same names.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "connect_timeout": _field(
        "Connect timeout (s)", "integer", "Seconds to wait for a connection. Default 10."
    ),
    "read_timeout": _field("Read timeout (s)", "integer", "Seconds to wait for the next bytes. Default 60."),
    "retries": _field(
        "Retries", "integer", "How often to repeat a request after a transient error. Default 5."
    ),
    "proxies": _field(
        "Proxies",
        "string",
        'The URL of a proxy, or JSON such as {"https": "http://proxy:3128"}. Default: none.',
    ),
    "verify": _field(
        "Verify TLS",
        "string",
        "true, false, or the path of a CA bundle that verifies certificates. Default true.",
    ),
    "download_hosts": _field(
        "Download hosts",
        "string",
        "Hosts besides Amazon S3 that may serve the files (comma-separated). Default: none.",
    ),
    "callback_secret": _secret_field(
        "Callback secret",
        "Random text of at least 32 characters that signs callback URLs. Default: no callbacks.",
    ),
}

#: How the form shows the standard fields. "Access Key" and "Secret Key" are Flowroute's own terms.
CONNECTION_FORM: dict[str, Any] = {
    "hidden-fields": ["schema", "port"],
    "relabeling": {"login": "Access Key", "password": "Secret Key", "host": "API URL"},
    "placeholders": {"host": "https://api.flowroute.com (leave empty for this)"},
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the format of Airflow's ``provider_info`` schema."""
    package, integration = "airflow_provider_flowroute", "Flowroute"
    how_to_guide = "/docs/operators.md"
    asset_uris = [
        {
            "schemes": ["flowroute"],
            "handler": f"{package}.utils.assets.sanitize_uri",
            "to_openlineage_converter": f"{package}.utils.assets.convert_asset_to_openlineage",
        }
    ]
    return {
        "package-name": "airflow-provider-flowroute",
        "name": integration,
        "description": "Export Flowroute call detail records (CDRs), reconcile them, and land them in files or tables.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://developer.flowroute.com/api/cdrexports/v2.0/",
                "how-to-guide": [how_to_guide],
                "logo": "/docs/img/logo.svg",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "flowroute",
                "hook-class-name": f"{package}.hooks.flowroute.FlowrouteHook",
                "hook-name": integration,
                "ui-field-behaviour": CONNECTION_FORM,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{package}.hooks.flowroute"]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    f"{package}.operators.cdr_export",
                    f"{package}.operators.cdr_completeness",
                ],
            }
        ],
        "sensors": [{"integration-name": integration, "python-modules": [f"{package}.sensors.cdr_export"]}],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [f"{package}.triggers.cdr_export", f"{package}.triggers.events"],
            }
        ],
        "extra-links": [f"{package}.links.object_storage.LandedFileLink"],
        "transfers": [
            {
                "source-integration-name": integration,
                "target-integration-name": "Object storage",
                "how-to-guide": how_to_guide,
                "python-module": f"{package}.transfers.cdr_export_to_object_storage",
            },
            {
                "source-integration-name": integration,
                "target-integration-name": "Apache Iceberg",
                "how-to-guide": "/docs/iceberg.md",
                "python-module": f"{package}.transfers.cdr_export_to_iceberg",
            },
        ],
        "asset-uris": asset_uris,
        "dataset-uris": asset_uris,  # the name in Airflow 2
    }
