"""What a CDR export means at Flowroute. Pure: no Airflow, no network, no clock of its own."""
