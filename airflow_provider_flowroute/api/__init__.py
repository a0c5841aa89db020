"""Flowroute over HTTP: the client, downloads, errors, and creating an export only once. No Airflow."""
