"""A real Airflow beside this script's Python, kept apart from any other on the machine."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
AIRFLOW_VERSION = version("apache-airflow")


def airflow_env(home: Path, connection: str, lake: Path) -> dict[str, str]:
    """The environment of an Airflow process.

    :param home: its AIRFLOW_HOME.
    :param connection: ``flowroute_default``, as JSON.
    :param lake: where the example DAGs land their files.
    """
    # Settings of an Airflow that the user has otherwise would leak in here.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return {
        **env,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_FLOWROUTE_DEFAULT": connection,
        "AIRFLOW_VAR_FLOWROUTE_LAKE": str(lake),
        # `standalone` starts its parts by the bare name "airflow".
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


def airflow(*arguments: str) -> list[str]:
    """The command line of an Airflow command."""
    return [sys.executable, "-m", "airflow", *arguments]


def end_of(log: Path, lines: int = 25) -> str:
    """What to show of a log when something failed."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
