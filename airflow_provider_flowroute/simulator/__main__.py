"""The command line: ``python -m airflow_provider_flowroute.simulator``."""

import sys

if __name__ == "__main__":
    try:
        from airflow_provider_flowroute.simulator import main
    except ImportError as error:
        sys.exit(str(error))
    main(prog_name="python -m airflow_provider_flowroute.simulator")
