"""Settings for Airflow 2, whose tasks write to the database: wait for the lock instead of failing."""

CONNECT_ARGS = {"timeout": 120}
