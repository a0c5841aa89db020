"""Flowroute over HTTP: the client, downloads, errors, and requests that are sent once. No Airflow."""
