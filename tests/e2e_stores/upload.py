"""Upload files of some sizes to a path. Prints the peak of memory of each upload over the idle process, in MiB."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_flowroute.landing.publish import publish, staging_folder


def upload(path: ObjectStoragePath, size: int) -> None:
    with staging_folder(path) as folder:
        staged = folder / "staged"
        staged.touch()
        os.truncate(staged, size)
        publish(staged, path)


def memory(figure: str) -> int:
    """Read a figure of this process's memory, in KiB."""
    [kibibytes] = re.findall(rf"{figure}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes)


def main(url: str, *megabytes: str) -> None:
    path = ObjectStoragePath(url)
    upload(path, 1)  # loads the libraries
    for size in megabytes:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak
        idle = memory("VmRSS")
        upload(path, int(size) * 1_000_000)
        sys.stdout.write(f"{size} MB: {(memory('VmHWM') - idle) // 1024}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
