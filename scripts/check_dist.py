"""Checks what is in the built wheel and sdist: all that belongs there, and nothing else."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "airflow_provider_flowroute"
IN_WHEEL = ("__init__.py", "py.typed", "client.py", "operators/cdr_export.py", "simulator/__main__.py")
IN_SDIST = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "tests/", "docs/", "example_dags/")
NOT_IN_SDIST = (".venv", ".git/", ".airflow", "__pycache__", ".coverage")


def check_wheel(path: Path) -> list[str]:
    """What is wrong with the wheel."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        meta = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        entry_points = wheel.read(f"{meta}/entry_points.txt").decode()
    wrong = [f"lacks {name}" for name in IN_WHEEL if f"{PACKAGE}/{name}" not in names]
    wrong += [
        f"has {name}" for name in names if name.split("/")[0] not in (PACKAGE, meta) or "/tests/" in name
    ]
    if "[apache_airflow_provider]" not in entry_points:
        wrong.append("has no entry point for Airflow")
    if not any(name.endswith("/LICENSE") for name in names):
        wrong.append("lacks LICENSE")
    return wrong


def check_sdist(path: Path) -> list[str]:
    """What is wrong with the sdist."""
    with tarfile.open(path) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    wrong = [f"lacks {wanted}" for wanted in IN_SDIST if not any(name.startswith(wanted) for name in names)]
    return wrong + [f"has {name}" for name in names if any(part in name for part in NOT_IN_SDIST)]


def main(directory: Path) -> int:
    """Check the one wheel and the one sdist of a directory.

    :return: 1 if something is wrong.
    """
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    found = {wheel: check_wheel(wheel), sdist: check_sdist(sdist)}
    for path, wrong in found.items():
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {'; '.join(wrong) or 'complete'}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
