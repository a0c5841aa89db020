"""The command line: ``python -m airflow_provider_flowroute.report``."""

import sys

if __name__ == "__main__":
    try:
        from airflow_provider_flowroute.report.cli import main
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("airflow_provider_flowroute"):
            raise
        sys.exit(
            f"The report needs the library {error.name!r}.\nIt is not installed here.\n"
            "Install it with: pip install 'airflow-provider-flowroute[report]'"
        )
    main(prog_name="python -m airflow_provider_flowroute.report")
