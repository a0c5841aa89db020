"""The command line: ``python -m airflow_provider_flowroute.simulator``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from airflow_provider_flowroute.simulator.cli import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"The Flowroute simulator needs the library {error.name!r}.\nIt is not installed here.\n"
            "Install it with: pip install 'airflow-provider-flowroute[simulator]'"
        )
    main(prog_name="python -m airflow_provider_flowroute.simulator")
