"""Check that the wheel and the sdist contain what they must and nothing else, and that the version matches the tag."""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

PACKAGE = "airflow_provider_flowroute"
CHECKOUT = Path(__file__).resolve().parent.parent
IN_WHEEL = (
    "__init__.py",
    "py.typed",
    "api/client.py",
    "operators/cdr_export.py",
    "report/templates/report.css",
    "report/templates/report.html.j2",
    "simulator/__main__.py",
    "simulator/pytest_plugin.py",
    *(f"example_dags/{dag.name}" for dag in (CHECKOUT / "example_dags").glob("*.py")),
)
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
IN_SDIST = (
    "pyproject.toml",
    "Makefile",
    "README.md",
    "LICENSE",
    "SECURITY.md",
    "CHANGELOG.md",
    "constraints/",
    "docs/",
    "example_dags/",
    "scripts/",
    "tests/",
)
NOT_IN_SDIST = (".venv", ".git/", ".airflow", "__pycache__", ".coverage")


def check_wheel(path: Path, tag: str) -> list[str]:
    """Return the errors of the wheel."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        meta = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        entry_points = wheel.read(f"{meta}/entry_points.txt").decode()
        metadata = Parser().parsestr(wheel.read(f"{meta}/METADATA").decode())
    wrong = [f"lacks {name}" for name in IN_WHEEL if f"{PACKAGE}/{name}" not in names]
    wrong += [
        f"has {name}" for name in names if name.split("/")[0] not in (PACKAGE, meta) or "/tests/" in name
    ]
    wrong += [
        f"has no entry point {name}" for name in PROJECT["entry-points"] if f"[{name}]" not in entry_points
    ]
    if not any(name.endswith("/LICENSE") for name in names):
        wrong.append("lacks LICENSE")
    return wrong + check_metadata(metadata, tag)


def check_metadata(metadata: Message, tag: str) -> list[str]:
    """Return the errors of the metadata, which the package index and installers read."""
    wanted = {
        "Name": "airflow-provider-flowroute",
        "Requires-Python": ">=3.11",
        "License-Expression": "Apache-2.0",
        "Description-Content-Type": "text/markdown",
    }
    wrong = [
        f"says {name}: {metadata[name]}, not {value}"
        for name, value in wanted.items()
        if metadata[name] != value
    ]
    description = str(metadata.get_payload())
    relative = re.findall(r"\]\((?!https://)([^)]*)\)", description)
    wrong += [f"has a link in the README that the package index cannot follow: {link}" for link in relative]
    if not description.startswith("# airflow-provider-flowroute"):
        wrong.append("lacks the README")
    requirements = metadata.get_all("Requires-Dist", [])
    if any(" @ " in line or "://" in line for line in requirements):
        wrong.append("has a requirement with a URL")
    missing = set(PROJECT["optional-dependencies"]) - set(metadata.get_all("Provides-Extra", []))
    wrong += [f"lacks the extra {name}" for name in sorted(missing)]
    version = metadata["Version"]
    if tag and tag != f"v{version}":
        wrong.append(f"is version {version}, but the tag is {tag}")
    if tag and f"## [{version}]" not in (CHECKOUT / "CHANGELOG.md").read_text():
        wrong.append(f"is version {version}, which CHANGELOG.md does not mention")
    return wrong


def check_sdist(path: Path) -> list[str]:
    """Return the errors of the sdist."""
    with tarfile.open(path) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    wrong = [f"lacks {wanted}" for wanted in IN_SDIST if not any(name.startswith(wanted) for name in names)]
    return wrong + [f"has {name}" for name in names if any(part in name for part in NOT_IN_SDIST)]


def main(directory: Path, tag: str = "") -> int:
    """Check the one wheel and the one sdist of a directory.

    :param tag: tag of the release, such as v1.2.3.
    :return: 1 if there is an error.
    """
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    found = {wheel: check_wheel(wheel, tag), sdist: check_sdist(sdist)}
    for path, wrong in found.items():
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {'; '.join(wrong) or 'complete'}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
