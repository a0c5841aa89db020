"""Load each export when it completes: of another DAG, of a program, or of a user of Flowroute's portal.

Copy this file into your DAGs folder. It needs Airflow 3, the connection ``flowroute_default`` and the extra
``landing``, and writes below the path in the Airflow variable ``flowroute_lake``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from airflow_provider_flowroute.triggers.events import CdrExportCompletedEventTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:  # Airflow 2 has no watchers, so this file has no DAG there.
    AssetWatcher = None  # type: ignore[misc,assignment]


def flowroute_on_completion() -> None:
    """Define the DAG."""
    # Each completed export of the account is an event of this asset. The event's extra has its window and totals.
    trigger = CdrExportCompletedEventTrigger(poke_interval=60)
    completed_exports = Asset(
        "flowroute_completed_exports", watchers=[AssetWatcher(name="flowroute_account", trigger=trigger)]
    )
    with DAG(
        dag_id="flowroute_on_completion",
        schedule=[completed_exports],
        start_date=datetime(2019, 1, 1, tzinfo=UTC),
        # Unpause it to watch the account.
        is_paused_upon_creation=True,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["flowroute", "example"],
        doc_md=__doc__,
    ):

        @task
        def landings(triggering_asset_events: Any = None) -> list[dict[str, str]]:
            """Return the export and the target file of each event. Exports that complete together share a run."""
            completed = [
                event.extra["payload"] for events in triggering_asset_events.values() for event in events
            ]
            return [
                {
                    "export_id": export["export_id"],
                    "path": "{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/on_completion/"
                    f"from-{(export['window_start'] or 'unknown')[:10]}-export-{export['export_id']}.parquet",
                }
                for export in completed
            ]

        CdrExportToObjectStorageOperator.partial(
            task_id="land", map_index_template="{{ task.path.rpartition('/')[-1] }}"
        ).expand_kwargs(landings())


if AssetWatcher is not None:
    flowroute_on_completion()
