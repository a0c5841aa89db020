"""A StatsD server on loopback, to which every Airflow of the tests sends its metrics."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One metric as it was sent.

    :param kind: ``c`` (counter), ``g`` (gauge) or ``ms`` (timing).
    """

    name: str
    value: float
    kind: str
    tags: dict[str, str]


class StatsdServer:
    """Receive metrics over UDP."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        #: Airflow's settings that send all metrics here.
        self.settings = {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",  # the only way in Airflow 3
        }

    def receive(self, prefix: str = "flowroute.") -> list[Sample]:
        """Return the metrics that arrived since the last call, by default those of this package."""
        samples = []
        while True:
            try:
                datagram = self._socket.recv(65536).decode()
            except BlockingIOError:
                break
            samples += [_parse(line) for line in datagram.splitlines()]
        return [sample for sample in samples if sample.name.startswith(prefix)]


def _parse(line: str) -> Sample:
    series, _, rest = line.rpartition(":")
    value, kind = rest.split("|")[:2]
    name, *tags = series.split(",")
    return Sample(name.removeprefix("airflow."), float(value), kind, dict(tag.split("=", 1) for tag in tags))
