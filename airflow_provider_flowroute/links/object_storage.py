"""From a landing in Airflow's web interface to its file in the console of the cloud that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_flowroute.landing.publish import bucket_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, TaskInstanceKey


#: By the beginning of a region's name: China and the United States' government have an AWS of their own.
_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "": "console.aws.amazon.com",
}


class LandedFileLink(BaseOperatorLink):
    """To the landed file, on Amazon S3 or Google Cloud Storage; elsewhere there is no link."""

    name = "Landed file"
    #: Where Airflow 3 keeps the link itself, when the task has ended.
    xcom_key = "_link_LandedFileLink"

    def persist(self, context: Context, url: str) -> None:
        """Keep the link, for Airflow 2: its webserver knows nothing of what a task did but by XCom.

        :param context: the task's.
        :param url: from :func:`console_url`.
        """
        ti = context.get("ti")
        if ti is not None and url:
            ti.xcom_push(key=self.xcom_key, value=url)

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The link, or nothing where there is none."""
        # Airflow 3 asks in the task itself, where looking for an XCom that is not there logs an error.
        known = getattr(operator, "landed_file_url", None)
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "" if known is None else str(known)


def console_url(path: ObjectStoragePath) -> str:
    """Where a cloud's own console shows a file; nothing for a file that is not in one.

    Azure has no such address that can be told from a path: it takes subscription and resource group.

    :param path: the file.
    """
    bucket = quote(bucket_of(path))
    key = quote(path.key)
    if path.protocol in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{bucket}/{key}"
    if path.protocol in ("s3", "s3a") and (console := _aws_console(path.fs)):
        return f"https://{console}/s3/object/{bucket}?prefix={key}"
    return ""


def _aws_console(s3: Any) -> str:
    """The console for that storage; nothing if it is not Amazon's S3, but another with the same API."""
    endpoint = getattr(s3, "endpoint_url", None)
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    if host and not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return ""
    session = getattr(s3, "session", None)
    region = (session.get_config_variable("region") if session else None) or ""
    return next((console for start, console in _CONSOLES.items() if region.startswith(start)), "")
