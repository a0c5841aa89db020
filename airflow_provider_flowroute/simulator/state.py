"""The state of a simulated account, which both ports and the control endpoints share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from airflow_provider_flowroute.simulator.callbacks import Callbacks
from airflow_provider_flowroute.simulator.export_store import ExportStore
from airflow_provider_flowroute.simulator.faults import FaultQueue
from airflow_provider_flowroute.simulator.presigning import Presigner
from airflow_provider_flowroute.simulator.request_log import RequestLog


@dataclass
class AccountState:
    """The state of a simulated Flowroute account. Each part is safe to use from any thread.

    The addresses are empty until the ports are open.
    """

    access_key: str
    secret_key: str
    exports: ExportStore
    presigner: Presigner
    request_log: RequestLog
    faults: FaultQueue
    callbacks: Callbacks
    callback_url_echo: str
    export_created: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    download_origin: str = ""

    def reset(self) -> None:
        """Delete all exports, requests, callbacks and faults. IDs are not used again."""
        self.faults.clear()
        self.exports.reset()
        self.callbacks.clear()
        self.request_log.clear()
