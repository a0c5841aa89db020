"""Install the built wheel into a new virtual environment, as a user would, and run the demo from it.

It works in a temporary directory, where the package of the checkout cannot be imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow_env import AIRFLOW_VERSION, CHECKOUT

CONSTRAINTS = CHECKOUT / "constraints" / f"airflow-{'.'.join(AIRFLOW_VERSION.split('.')[:2])}.txt"
UV = Path(sys.executable).parent / "uv"
WHERE = "import airflow_provider_flowroute; print(airflow_provider_flowroute.__file__)"


def run(directory: Path, *command: str | Path, capture: bool = False) -> str:
    """Run a command in the directory; it must succeed."""
    # Leave out variables that point to the packages of another Python or to another Airflow.
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "AIRFLOW", "VIRTUAL_ENV"))
    }
    env |= {"AIRFLOW_HOME": str(directory / "airflow"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"Failed: {' '.join(map(str, command))}\n{done.stdout or ''}")
    return done.stdout or ""


def main(dist: Path) -> None:
    """Install the one wheel of a directory and run the demo."""
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="flowroute-wheel-") as name:
        directory = Path(name).resolve()
        python = directory / "venv" / "bin" / "python"
        run(directory, UV, "venv", "--quiet", "--python", sys.executable, directory / "venv")
        install: list[str | Path] = [
            UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--constraints",
            CONSTRAINTS,
        ]
        run(directory, *install, f"{wheel}[landing,simulator]")
        where = run(directory, python, "-c", WHERE, capture=True).strip()
        if not Path(where).is_relative_to(directory):
            sys.exit(f"The package comes from {where}, not from the wheel {wheel.name}.")
        listed = run(directory, python, "-m", "airflow", "providers", "list", "-o", "plain", capture=True)
        if "airflow-provider-flowroute" not in listed:
            sys.exit(f"`airflow providers list` does not list the provider:\n{listed}")
        print(f"{wheel.name}: installed; Airflow {AIRFLOW_VERSION} lists the provider")
        sys.stdout.flush()
        run(directory, python, CHECKOUT / "scripts" / "demo.py")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
