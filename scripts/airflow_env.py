"""Run Airflow from the Python of this script, separate from any other Airflow on the machine."""

from __future__ import annotations

import os
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
AIRFLOW_VERSION = version("apache-airflow")
# The example DAG, and the one day of which Flowroute publishes real rows.
DAG = "flowroute_daily_cdrs"
SAMPLE_DAY = date(2019, 6, 25)


def airflow_env(home: Path, lake: Path) -> dict[str, str]:
    """Return the environment of an Airflow process.

    :param home: AIRFLOW_HOME.
    :param lake: directory where the example DAGs land their files.
    """
    # Leave out the settings of another Airflow of the user.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return {
        **env,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_VAR_FLOWROUTE_LAKE": str(lake),
        # `standalone` starts its components by the name "airflow".
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


def airflow(*arguments: str) -> list[str]:
    """Return the command line of an Airflow command."""
    return [sys.executable, "-m", "airflow", *arguments]


def end_of(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log, to show after a failure."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
