"""For Airflow 2, whose tasks write to the database themselves: wait for each other instead of giving up."""

CONNECT_ARGS = {"timeout": 120}
