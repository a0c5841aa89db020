"""Link from a landing task in the Airflow UI to its file in the cloud console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_flowroute.landing.publish import DATE, bucket_of, folder_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, TaskInstanceKey


#: AWS consoles by region prefix: the regions of China and of the US government have their own.
_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "": "console.aws.amazon.com",
}


class LandedFileLink(BaseOperatorLink):
    """Link to the landed file, or the folder of day files, on Amazon S3 or Google Cloud Storage.

    Other storage has no link.
    """

    name = "Landed file"
    #: The XCom key under which Airflow 3 stores the link when the task ends.
    xcom_key = "_link_LandedFileLink"

    def persist(self, context: Context, url: str) -> None:
        """Store the link as an XCom for the Airflow 2 webserver, which has no access to the task.

        :param context: context of the task.
        :param url: URL from :func:`console_url`; an empty one is not stored.
        """
        ti = context.get("ti")
        if ti is not None and url:
            ti.xcom_push(key=self.xcom_key, value=url)

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the link's URL, or an empty string if the file has none."""
        # Airflow 3 calls this inside the task, where reading a missing XCom logs an error.
        url = getattr(operator, "landed_file_url", None)
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "" if url is None else str(url)


def console_url(path: ObjectStoragePath) -> str:
    """Return the URL of a file, or of the folder of day files, in its cloud's console; empty if there is none.

    Azure has none, because its URLs need a subscription and a resource group, which a path does not have.

    :param path: path of the file, or the pattern of day files.
    """
    is_folder = DATE in str(path)
    bucket = quote(bucket_of(path))
    key = quote((folder_of(path) if is_folder else path).key)
    if path.protocol in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/{'' if is_folder else '_details/'}{bucket}/{key}"
    if path.protocol in ("s3", "s3a") and (console := _aws_console(path.fs)):
        if is_folder:
            return f"https://{console}/s3/buckets/{bucket}?prefix={key}/"
        return f"https://{console}/s3/object/{bucket}?prefix={key}"
    return ""


def _aws_console(s3: Any) -> str:
    """Return the console's host, or an empty string if this is not Amazon's S3 but a compatible store."""
    endpoint = getattr(s3, "endpoint_url", None)
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    if host and not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return ""
    session = getattr(s3, "session", None)
    region = (session.get_config_variable("region") if session else None) or ""
    return next((console for start, console in _CONSOLES.items() if region.startswith(start)), "")
