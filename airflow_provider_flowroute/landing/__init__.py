"""From a download to a reconciled, published file. Needs the extra ``landing`` (pyarrow, numpy, isal)."""

from __future__ import annotations

import importlib.util

from airflow_provider_flowroute.exceptions import FlowrouteValueError

#: The formats of a landed file, by the suffix of its path; the longest suffix comes first.
FORMATS = ("csv.gz", "csv", "parquet")


def check_format(file_format: str) -> None:
    """Check that this installation can write a file format.

    :param file_format: one of :data:`FORMATS`.
    :raises FlowrouteValueError: the format is unknown, or the extra ``landing`` is not installed.
    """
    if file_format not in FORMATS:
        raise FlowrouteValueError(f"file_format is {file_format!r}.\nUse one of {', '.join(FORMATS)}.")
    missing = [name for name in ("pyarrow", "numpy", "isal") if not importlib.util.find_spec(name)]
    if missing:
        raise FlowrouteValueError(
            f"Landing a CDR file needs {', '.join(missing)}, which this worker does not have.\n"
            "Install the extra where tasks run: pip install 'airflow-provider-flowroute[landing]'."
        )
