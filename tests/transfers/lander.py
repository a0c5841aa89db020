"""A process that lands files in child processes, so that a test can kill one at any moment.

Each line of its input is JSON: the operator's arguments, ``environment``, and ``limit``, the maximum size of a file in
bytes. It prints the child's process ID, and the result when the child has ended.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, ObjectStoragePath

from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator


def land(environment: dict[str, str], limit: int | None = None, **arguments: Any) -> str:
    """Land one export: in a table if there is one among the arguments, else in a file.

    :return: ``landed``, or the error.
    """
    os.environ.update(environment)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        operator = CdrExportToIcebergOperator if "table" in arguments else CdrExportToObjectStorageOperator
        operator(task_id="land", **arguments).execute({})
    except (FlowrouteError, AirflowException) as e:
        return f"{type(e).__name__}: {e}"
    return "landed"


def main() -> None:
    """Land the requested files, one after the other."""
    # Imports take seconds: import here what each child needs.
    for module in ("landing.pipeline", "landing.arrow", "landing.iceberg"):
        importlib.import_module(f"airflow_provider_flowroute.{module}")
    _ = ObjectStoragePath("file:///").fs  # Airflow imports the file systems of all its providers.
    for module in filter(importlib.util.find_spec, ("s3fs", "gcsfs", "adlfs")):
        importlib.import_module(module)
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, land(**json.loads(line)).encode())
            os._exit(0)
        os.close(write)
        print(child, file=answers, flush=True)
        os.waitpid(child, 0)
        with os.fdopen(read) as outcome:
            print(json.dumps(outcome.read()), file=answers, flush=True)


if __name__ == "__main__":
    # Airflow prints to standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main()
