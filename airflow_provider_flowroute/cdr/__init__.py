"""What Flowroute means by an export of call detail records. No Airflow, no network, no clock of its own."""
