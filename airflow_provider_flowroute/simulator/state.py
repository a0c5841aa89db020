"""The state of a simulated account, which both ports and the control endpoints share."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_flowroute.simulator.callbacks import Callbacks
from airflow_provider_flowroute.simulator.export_store import ExportStore
from airflow_provider_flowroute.simulator.faults import FaultQueue
from airflow_provider_flowroute.simulator.held_requests import HeldRequests
from airflow_provider_flowroute.simulator.presigning import Presigner
from airflow_provider_flowroute.simulator.request_log import RequestLog


@dataclass
class AccountState:
    """The state of a simulated Flowroute account. Each part is safe to use from any thread.

    :param access_key: the only access key that is accepted.
    :param secret_key: its secret key.
    :param exports: the account's exports and its clock.
    :param presigner: signs and checks download links.
    :param request_log: the recorded requests.
    :param faults: the pending faults.
    :param callbacks: the callbacks that were sent.
    :param callback_url_echo: how responses show the callback URL of an export.
    :param held_requests: the requests that a fault holds.
    :param url: the address of the API; empty until the port is open.
    :param download_origin: the address of the storage; empty until the port is open.
    """

    access_key: str
    secret_key: str
    exports: ExportStore
    presigner: Presigner
    request_log: RequestLog
    faults: FaultQueue
    callbacks: Callbacks
    callback_url_echo: str = "exact"
    held_requests: HeldRequests = field(default_factory=HeldRequests)
    url: str = ""
    download_origin: str = ""

    def reset(self) -> None:
        """Delete all exports, requests, callbacks and faults. IDs are not used again."""
        self.faults.clear()
        self.exports.reset()
        self.callbacks.clear()
        self.request_log.clear()
