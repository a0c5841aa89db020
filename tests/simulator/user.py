"""An HTTP client with the account's keys, for the tests of the simulator."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import requests

from airflow_provider_flowroute.simulator import FlowrouteSimulator

MEDIA_TYPE = "application/vnd.api+json"
DAY = ("2026-03-02 00:00:00", "2026-03-03 00:00:00")


class User:
    def __init__(self, flowroute: FlowrouteSimulator) -> None:
        self.flowroute = flowroute
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (flowroute.access_key, flowroute.secret_key)
        self.bare = requests.Session()
        self.bare.trust_env = False

    def __enter__(self) -> User:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.bare.close()

    @property
    def exports_url(self) -> str:
        return f"{self.flowroute.url}/v2/cdrs/exports"

    def post(self, body: Any, **headers: str) -> requests.Response:
        return self.session.post(
            self.exports_url, json=body, headers={"Content-Type": MEDIA_TYPE} | headers, timeout=10
        )

    def create(
        self, start: str = DAY[0], end: str = DAY[1], callback_url: str | None = None, **filters: Any
    ) -> str:
        window = {"start_call_start_time": start, "start_call_end_time": end}
        attributes: dict[str, Any] = {"filter_parameters": window | filters}
        if callback_url:
            attributes["callback_url"] = callback_url
        response = self.post({"data": {"type": "cdrexport", "attributes": attributes}})
        assert response.status_code == 201, response.text
        export_id = response.json()["data"]["id"]
        assert isinstance(export_id, str)
        return export_id

    def status(self, export_id: str) -> dict[str, Any]:
        response = self.session.get(f"{self.exports_url}/{export_id}", timeout=10)
        assert response.status_code == 200, response.text
        attributes: dict[str, Any] = response.json()["data"]["attributes"]
        return attributes

    def link(self, export_id: str) -> str:
        return str(self.status(export_id)["download_url"])

    def get(self, url: str, **headers: str) -> requests.Response:
        return self.bare.get(url, headers=headers, timeout=10)

    def rows(self, start: str = DAY[0], end: str = DAY[1], **filters: Any) -> list[dict[str, str]]:
        content = self.get(self.link(self.create(start, end, **filters))).content
        return list(csv.DictReader(io.StringIO(gzip.decompress(content).decode("utf-8"), newline="")))

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.bare.request(method, f"{self.flowroute.url}/_simulator{path}", json=body, timeout=10)
