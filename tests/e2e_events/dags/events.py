"""A DAG that creates an export, and two that start when one completes: by a callback, and by a watcher that polls."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.triggers.events import CdrExportCompletedEventTrigger

START = datetime(2026, 1, 1, tzinfo=UTC)


def consumer(conn_id, **filters):
    """Return a DAG that runs when an export of a connection completes."""
    trigger = CdrExportCompletedEventTrigger(conn_id, **filters)
    asset = Asset(f"exports_{conn_id}", watchers=[AssetWatcher(name=conn_id, trigger=trigger)])
    with DAG(f"consume_{conn_id}", schedule=[asset], start_date=START, max_active_runs=16) as dag:

        @task
        def list_exports(triggering_asset_events=None):
            events = [event for events in triggering_asset_events.values() for event in events]
            return [event.extra["payload"]["export_id"] for event in events]

        list_exports()
    return dag


# Only a callback can report an export of this connection in time.
by_callback = consumer("by_callback", poke_interval=3600)
by_watcher = consumer("by_watcher", poke_interval=5, filter_parameters={})

with DAG("create_export", schedule=None, start_date=START) as create_export:
    CreateCdrExportOperator(
        task_id="create",
        flowroute_conn_id="by_callback",
        callback="plugin",
        start_call_start_time="2026-03-02",
        start_call_end_time="2026-03-03",
    )
