"""Checks that the wheel holds what a user needs, and nothing else."""

from __future__ import annotations

import sys
import zipfile

PACKAGE = "airflow_provider_flowroute/"
NEEDED = (f"{PACKAGE}py.typed", f"{PACKAGE}__init__.py", f"{PACKAGE}simulator/__main__.py")


def main(path: str) -> int:
    """Print what is wrong with the wheel.

    :return: 1 if anything is.
    """
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [entry_points] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        declared = wheel.read(entry_points).decode()
    problems = [f"{name} is missing" for name in NEEDED if name not in names]
    problems += [
        f"{name} does not belong"
        for name in names
        if not name.startswith((PACKAGE, "airflow_provider_flowroute-"))
    ]
    if "provider_info = airflow_provider_flowroute:get_provider_info" not in declared:
        problems.append("the apache_airflow_provider entry point is missing")
    print("\n".join(problems) or f"{path}: {len(names)} files, as they should be")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
